"""Points of a grid share a job, a network and clean heatmaps, and their rows are as without."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from harness import assert_same_science, call, read, tiny
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from xai_sweep.config.cells import Cell
from xai_sweep.config.keys import add_schema
from xai_sweep.config.points import Composer, Overrides
from xai_sweep.config.quoting import quoted
from xai_sweep.core.paths import CONF
from xai_sweep.models import Classifier
from xai_sweep.sweep import grouping
from xai_sweep.sweep.observing import Observer, observed_by
from xai_sweep.sweep.packing import jobs, spelled

EXPLAINERS = ("grad_cam", "lrp", "smooth_grad")
ANGLES = (0.5, 1, 5, 10)
SIGMAS = (0.05, 0.1, 0.2, 0.4)
LISTS = (f"magnitude.angle={[*ANGLES]}", f"magnitude.sigma={[*SIGMAS]}")


def grid(**axes: object) -> list[Overrides]:
    """The points of a grid, the last axis fastest, as Hydra lists them."""
    points: list[Overrides] = [()]
    for name, values in axes.items():
        assert isinstance(values, list | range)
        key = name.replace("__", ".")
        points = [(*point, f"{key}={value}") for point in points for value in values]
    return points


def folders(results: Path) -> list[str]:
    """The jobs of the multiruns of a results folder."""
    return sorted(path.name for path in results.glob("_jobs/*/*") if path.is_dir())


def unpacked(job: Overrides) -> list[Overrides]:
    """The points of a job, each whole."""
    *common, pack = job
    assert pack.startswith("pack=")
    (parsed,) = OverridesParser.create().parse_overrides([pack])
    value = parsed.value()
    assert isinstance(value, list)
    return [(*common, *own) for own in value]


def test_a_job_holds_what_differs_in_the_change_of_the_image_alone() -> None:
    points = grid(
        data=["folder"],
        explainer=["lrp", "lime"],
        transform=["rotation"],
        transform__angle=[1, 2],
        region_of=["own", "all"],
        target=["class", "rank"],
    )
    first, second = jobs(points)
    assert first[:1] == second[:1] == ("data=folder",)
    assert all("transform=rotation" not in word for word in first[:-1])  # its angle differs
    found = [sorted(point) for job in (first, second) for point in unpacked(job)]
    assert found == [sorted(point) for point in points]
    assert all("explainer=lrp" in point for point in unpacked(first))


def test_ten_thousand_cells_are_few_jobs_in_the_order_of_their_models() -> None:
    points = grid(
        explainer=[f"e{i}" for i in range(10)], model=list("abcde"), transform__angle=range(200)
    )
    found = [unpacked(job) for job in jobs(points)]
    assert [len(job) for job in found] == [200] * 50
    assert [job[0][1] for job in found[::10]] == [f"model={name}" for name in "abcde"]
    assert all(len({point[:2] for point in job}) == 1 for job in found)
    assert sorted(point for job in found for point in job) == sorted(points)


def test_one_point_is_a_job_as_it_stands() -> None:
    assert jobs([("explainer=lrp", "transform.angle=5")]) == [
        ("explainer=lrp", "transform.angle=5")
    ]


def test_what_an_experiment_may_contradict_stays_with_each_point() -> None:
    points = grid(results=["here"], experiment=["a", "b"], transform__sigma=[1], seed=[3])
    first, second = jobs(points)
    assert first[:-1] == second[:-1] == ("results=here",)
    assert unpacked(second) == [("results=here", "experiment=b", "transform.sigma=1", "seed=3")]


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [(1, [1] * 12), (3, [3] * 4), (4, [3] * 4), (6, [6, 6]), (7, [6, 6]), (100, [6, 6])],
)
def test_cells_per_job(limit: int, sizes: list[int]) -> None:
    points = grid(model=["a", "b"], explainer=["x", "y"], transform__angle=[1, 2, 3])
    found = [unpacked(job) for job in jobs(points, limit)]
    assert [len(job) for job in found] == sizes
    assert [point for job in found for point in job] == points
    assert all(len({point[0] for point in job}) == 1 for job in found)


def test_cells_are_counted_and_not_points() -> None:
    points = grid(explainer=["x", "y"], magnitude=["small", "large"])
    count = {"magnitude=small": 4, "magnitude=large": 6}
    sizes = {
        limit: [len(unpacked(job)) for job in jobs(points, limit, lambda point: count[point[-1]])]
        for limit in (3, 4, 9, 10, 20)
    }
    assert sizes == {3: [1] * 4, 4: [1] * 4, 9: [1] * 4, 10: [2, 2], 20: [4]}


@pytest.mark.parametrize(
    "word",
    [
        "transform.angle=[1, 2.5]",
        "model.path='a, b.pt'",
        'data.root="with \\"quotes\\" and \\\\"',
        "transform.angle=${magnitude.angle}",
        "explainer.rules=[{name: x, y: [1]}]",
        "data.root=with space",
        "~metric.ssim",
    ],
)
def test_every_override_survives_being_packed(word: str) -> None:
    (parsed,) = OverridesParser.create().parse_overrides([f"pack={spelled([(word, 'a=1')])}"])
    held = OmegaConf.create({"pack": parsed.value()})
    assert OmegaConf.to_container(held, resolve=False) == {"pack": [[word, "a=1"]]}
    assert OverridesParser.create().parse_overrides([f"a={quoted(word)}"])[0].value() == word


@pytest.mark.parametrize(
    "words",
    [
        ("transform.angle=5",),
        ("transform.angle=[1,2]", "region_of=all", "region=rectangle", "target=rank"),
        ("explainer=grad_cam", "transform=gaussian_noise", "transform.sigma=0.5"),
        ("magnitude=large", "magnitude.angle=[1,2]"),
        ("experiment=thesis_noise", "transform.clip=true", "transform.sigma=${magnitude.sigma}"),
        ("region_of=[1,2]", "seed=3"),
        ("metric.topk_iou.share=0.1", "draws=2", "transform=gaussian_noise"),
    ],
)
def test_a_point_is_composed_as_hydra_composes_it(words: Overrides) -> None:
    add_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        master = compose("config", return_hydra_config=True)
        composer = Composer(GlobalHydra.instance().config_loader(), master)
        composer.point(tuple(word for word in words if "." not in word))  # is not spoilt by others
        found = composer.point(words)
        expected = compose("config", overrides=list(words), return_hydra_config=True)
    choices = {group: str(entry) for group, entry in expected.hydra.runtime.choices.items()}
    del OmegaConf.structured(expected)._metadata.flags["struct"]
    OmegaConf.set_struct(expected, False)
    del expected["hydra"]
    assert OmegaConf.to_container(found.cfg, resolve=True) == OmegaConf.to_container(
        expected, resolve=True
    )
    assert found.choices == choices
    assert found.overrides == words


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def apart(small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """4 magnitudes x 2 transforms x 3 explainers, a job for each cell."""
    results = tmp_path_factory.mktemp("apart")
    words = ("-m", *small, f"explainer={','.join(EXPLAINERS)}", "hydra/sweeper=basic")
    angles, sigmas = ",".join(map(str, ANGLES)), ",".join(map(str, SIGMAS))
    assert call(results, *words, "transform=rotation", f"transform.angle={angles}") == 0
    assert call(results, *words, "transform=gaussian_noise", f"transform.sigma={sigmas}") == 0
    assert len(folders(results)) == 24
    return read(results)


GRID = ("-m", f"explainer={','.join(EXPLAINERS)}", "transform=rotation,gaussian_noise", *LISTS)


@pytest.mark.parametrize(("limit", "count"), [("null", 3), ("4", 6), ("16", 2)])
def test_rows_are_as_of_a_job_per_cell(
    limit: str, count: int, small: tuple[str, ...], apart: pd.DataFrame, tmp_path: Path
) -> None:
    assert len(apart) == 24 * 3 * 2
    assert call(tmp_path, *GRID, *small, f"cells_per_job={limit}") == 0
    assert_same_science(read(tmp_path), apart)
    assert folders(tmp_path) == [str(number) for number in range(count)]


def test_rows_are_the_same_if_not_all_cells_fit_into_a_pass(
    small: tuple[str, ...], apart: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    class Passes(Observer):
        def computing(self, cells: Sequence[Cell]) -> None:
            sizes.append(len(cells))

    monkeypatch.setattr(grouping, "CELLS_AT_ONCE", 3)
    with observed_by(Passes()):
        assert call(tmp_path, *GRID, *small) == 0
    assert sizes == [3, 3, 2] * 3
    assert_same_science(read(tmp_path), apart)


def test_hydras_own_sweeper_does_the_same_in_more_jobs(
    small: tuple[str, ...], apart: pd.DataFrame, tmp_path: Path
) -> None:
    words = (*GRID, *small, "explainer=grad_cam", "hydra/sweeper=basic")
    assert call(tmp_path, *words) == 0
    expected = apart[apart["explainer"] == "grad_cam"].reset_index(drop=True)
    assert_same_science(read(tmp_path), expected)
    assert folders(tmp_path) == ["0", "1"]


def test_clean_images_are_explained_once_and_the_network_is_loaded_once(
    small: tuple[str, ...], tmp_path: Path, explained: list[int]
) -> None:
    networks: set[int] = set()

    class Networks(Observer):
        def prepared(self, classifier: Classifier) -> None:
            networks.add(id(classifier.module))

    words = ("-m", "explainer=grad_cam,saliency", "transform=rotation")
    grid = ("transform.angle=1,5", "transform.fill=mean,edge", "region_of=own,[5]")
    with observed_by(Networks()):
        assert call(tmp_path, *words, *grid, *small) == 0
    assert sum(explained) == 2 * (3 + 3 * 2 * 2 * 2)
    assert len(networks) == 1
    assert len(read(tmp_path)) == 2 * 8 * 3 * 2


def test_a_region_of_all_is_that_of_each_point(small: tuple[str, ...], tmp_path: Path) -> None:
    words = (*small, "explainer=grad_cam", "transform=rotation", "region_of=all")
    assert call(tmp_path / "packed", "-m", *words, "transform.angle=1,10,[1,10]") == 0
    for angles in ("1", "10", "[1,10]"):
        assert call(tmp_path / "apart", *words, f"transform.angle={angles}") == 0
    packed, apart = (
        read(tmp_path / name).sort_values(["cell", "image_id", "rank"], ignore_index=True)
        for name in ("packed", "apart")
    )
    assert packed["cell"].nunique() == 4
    assert_same_science(packed, apart)


def test_a_second_call_computes_nothing_and_a_new_point_alone(
    small: tuple[str, ...], tmp_path: Path, computed: list[Cell]
) -> None:
    words = ("-m", *small, "explainer=grad_cam,saliency")
    assert call(tmp_path, *words, "transform.angle=1,5") == 0
    computed.clear()
    assert call(tmp_path, *words, "transform.angle=1,5") == 0
    assert computed == []
    assert call(tmp_path, *words, "transform.angle=[1,5],7,1") == 0
    found = [(cell.curve.explainer, cell.magnitude) for cell in computed]
    assert found == [("grad_cam", 7), ("saliency", 7)]


def test_points_of_a_curve_with_different_metrics_are_computed_together(
    small: tuple[str, ...], tmp_path: Path, computed: list[Cell]
) -> None:
    words = ("-m", *small, "explainer=grad_cam", "transform.angle=1,5", "metric=[rmse],[ssim]")
    assert call(tmp_path, *words) == 0
    assert [cell.magnitude for cell in computed] == [1, 5]
    assert read(tmp_path)[["rmse", "ssim"]].notna().all(axis=None)


def test_every_curve_has_a_log_and_every_cell_its_own_configuration(
    small: tuple[str, ...], tmp_path: Path
) -> None:
    words = ("-m", *small, "explainer=grad_cam", "logger=csv", "transform=rotation")
    assert call(tmp_path, *words, "transform.angle=1,5", "transform.fill=mean,edge") == 0
    logs = sorted(tmp_path.glob("_jobs/*/0/log/*"))
    assert len(logs) == 2
    for log in logs:
        config = json.loads((log / "config.json").read_text())
        assert config["transform"]["angle"] == [1, 5]
        assert len(pd.read_csv(log / "summary.csv")) == 2
    manifests = [json.loads(path.read_text()) for path in tmp_path.glob("cells/*/_manifest.json")]
    found = {
        (m["config"]["transform"]["fill"], m["config"]["transform"]["angle"]) for m in manifests
    }
    assert found == {("mean", 1), ("mean", 5), ("edge", 1), ("edge", 5)}
    assert all(m["config"]["pack"] is None for m in manifests)


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "true"])
def test_a_number_of_cells_that_makes_no_sense(
    value: str, several: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-m", "transform.angle=1,2"] if several else []
    assert call(tmp_path, *words, f"cells_per_job={value}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (f"error: cells_per_job={value}: must be a whole number of at least 1 or null")


def test_a_pack_is_not_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, 'pack=[["transform.angle=1"]]') == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: pack=...: is written by a multirun (-m)")

"""The key of a cell: everything that decides the numbers, and nothing else."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from xai_sweep.config.building import plain
from xai_sweep.config.cells import Cell, Curve, digest, make_curve, title
from xai_sweep.config.keys import add_schema
from xai_sweep.core.paths import CONF

CHOICES = {
    "data": "samples",
    "model": "efficientnet_lite0",
    "explainer": "grad_cam",
    "transform": "rotation",
}


def curve(
    *overrides: str,
    explainer: str = "grad_cam",
    weights: str = "w",
    data: str = "0123456789",
    region_of: tuple[float, ...] = (),
) -> Curve:
    add_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=[f"explainer={explainer}", *overrides])
    return make_curve(
        plain(cfg),
        {**CHOICES, "explainer": explainer},
        parameter="angle",
        weights={"weights": weights},
        data=data,
        region_of=region_of,
    )


KEY = Cell(curve(), 5.0).key


@pytest.mark.parametrize(
    "override",
    [
        "explainer.polarity=both",
        "transform.fill=edge",
        "model.weights=random",
        "seed=1",
        "ranks=3",
        "target=rank",
        "region=none",
        "draws=2",
    ],
)
def test_what_decides_the_numbers_changes_the_key(override: str) -> None:
    other = curve(override)
    assert Cell(other, 5.0).key != KEY
    assert other.name != curve().name
    assert other.question != curve().question


def test_weights_images_and_magnitude_change_the_key() -> None:
    assert Cell(curve(weights="other"), 5.0).key != KEY
    assert Cell(curve(data="9876543210"), 5.0).key != KEY
    assert Cell(curve(), 6.0).key != KEY


def test_a_question_is_of_the_curve_and_not_of_its_magnitudes() -> None:
    assert len(curve().question) == 16
    assert curve("transform.angle=[1,2]").question == curve().question
    assert Cell(curve(), 6.0).curve.question == Cell(curve(), 5.0).curve.question
    assert curve(data="9876543210").question != curve().question


def test_a_request_is_known_before_weights_and_images_are() -> None:
    usual = Cell(curve(), 5.0)
    assert Cell(curve(weights="other", data="9876543210"), 5.0).request == usual.request
    assert Cell(curve("region=none"), 5.0).request != usual.request
    assert Cell(curve(), 6.0).request != usual.request
    assert Cell(curve(region_of=(5.0,)), 5.0).request != usual.request


@pytest.mark.parametrize(
    "override",
    [
        "results=elsewhere",
        "batch_size=3",
        "workers=2",
        "logger=none",
        "device=cpu",
        "shard_images=5",
        "keep_heatmaps=all",
        "force=true",
        "magnitude=large",
        "metric=[rmse]",
        "metric.topk_iou.share=0.1",
        "transform.angle=[1,2,3]",
    ],
)
def test_how_it_is_run_does_not(override: str) -> None:
    assert Cell(curve(override), 5.0).key == KEY


@pytest.mark.parametrize(
    ("explainer", "override"),
    [
        ("lime", "explainer.samples_at_once=16"),
        ("lime_package", "explainer.batch_size=4"),
        ("lrp", "explainer.compile=2"),
    ],
)
def test_nor_do_parameters_that_a_class_marks_as_execution_only(
    explainer: str, override: str
) -> None:
    usual, other = curve(explainer=explainer), curve(override, explainer=explainer)
    assert Cell(other, 5.0).key == Cell(usual, 5.0).key
    assert other.explainer == usual.explainer == explainer
    assert other.name == usual.name
    layered = {"lrp": "explainer.batchnorm=identity"}.get(explainer, "explainer.seed=1")
    assert Cell(curve(override, layered, explainer=explainer), 5.0).key != Cell(usual, 5.0).key


def of_files(*overrides: str, entry: str = "checkpoint", **contents: str) -> Curve:
    add_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=["explainer=grad_cam", f"model={entry}", *overrides])
    return make_curve(
        plain(cfg),
        {**CHOICES, "model": entry},
        parameter="angle",
        weights={name: f"sha256:{content}" for name, content in contents.items()},
        data="0123456789",
        region_of=(),
    )


@pytest.mark.parametrize(
    ("entry", "key"), [("checkpoint", "model.path"), ("timm", "model.weights")]
)
def test_the_same_weights_under_another_path_are_the_same_cell(entry: str, key: str) -> None:
    one, two = (of_files(f"{key}={name}.pt", entry=entry, weights="12345678ab") for name in "ab")
    assert Cell(one, 5.0).key == Cell(two, 5.0).key
    assert Cell(one, 5.0).folder == Cell(two, 5.0).folder
    assert one.model == two.model == f"{entry}({key[6:]}=12345678)"
    # What asks for them differs: before a file is read, nobody knows that they are the same.
    assert Cell(one, 5.0).request != Cell(two, 5.0).request
    assert of_files(f"{key}=a.pt", entry=entry).request == one.request
    other = of_files(f"{key}=a.pt", entry=entry, weights="0" * 10)
    assert other.question != one.question
    assert other.request == one.request


def test_the_same_names_in_another_file_are_the_same_cell() -> None:
    one, two = (of_files(f"model.labels={name}", weights="w", labels="n") for name in "ab")
    assert Cell(one, 5.0).folder == Cell(two, 5.0).folder
    inline = of_files("model.labels=[cat,dog]", weights="w")
    assert inline.question != one.question
    assert of_files("model.key=ema", weights="w").question != of_files(weights="w").question


def test_words_for_weights_are_no_paths() -> None:
    random = of_files("model.weights=random", entry="timm", weights="random")
    assert random.identity["model"]["weights"] == "random"
    assert not random.paths
    assert random.model == "timm(weights=random)"


def test_names_are_readable_and_safe_in_paths() -> None:
    cell = Cell(curve("explainer.layer=blocks.6", "explainer.polarity=both"), 0.5)
    assert cell.curve.explainer == "grad_cam(layer=blocks.6,polarity=both)"
    assert cell.folder.startswith(
        "efficientnet_lite0-grad_cam_layer_blocks.6_polarity_both_-rotation-"
    )
    assert cell.folder.endswith("-angle-0.5")
    assert Path(cell.folder).name == cell.folder
    # An equals sign would make the folder a partition to those who read the rows.
    assert "=" not in cell.folder


def test_a_title_names_what_differs_from_the_yaml() -> None:
    same = {"_target_": "xai_sweep.explainers.GradCam", "layer": None, "polarity": "evidence"}
    assert title("explainer", {"explainer": "grad_cam"}, same) == "grad_cam"
    other = {**same, "polarity": "counter"}
    assert title("explainer", {"explainer": "grad_cam"}, other) == "grad_cam(polarity=counter)"


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})

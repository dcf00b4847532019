"""The grid that a command line asks for, told without loading a model, is the one that is run."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from harness import FAST, call
from hydra import compose, initialize_config_dir

from xai_sweep.config.building import build
from xai_sweep.config.cells import Cell, asked, make_curve
from xai_sweep.config.entries import entries
from xai_sweep.config.keys import add_schema
from xai_sweep.core.paths import CONF
from xai_sweep.store.upkeep.status import status
from xai_sweep.sweep.plan import grid

add_schema()


def asked_by_a_job(*words: str) -> set[tuple[object, ...]]:
    """What a job makes of its configuration."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=list(words), return_hydra_config=True)
    choices = {group: str(entry) for group, entry in cfg.hydra.runtime.choices.items()}
    transform = build(cfg.transform)
    curve = make_curve(
        cfg,
        choices,
        parameter=transform.parameter,
        weights={"file": "whatever"},
        data="0" * 64,
        region_of=(),
    )
    return {
        (curve.model, curve.explainer, curve.transform, curve.parameter, m, asked(cell.science))
        for m in transform.magnitudes
        for cell in [Cell(curve, m)]
    }


def told(*words: str) -> set[tuple[object, ...]]:
    cells = grid(words)
    found = {(c.model, c.explainer, c.transform, c.parameter, c.magnitude, c.asked) for c in cells}
    assert len(found) == len(cells)
    return found


@pytest.mark.parametrize("transform", entries("transform"))
def test_every_transform(transform: str) -> None:
    words = (f"transform={transform}", "magnitude=large")
    assert told(*words) == asked_by_a_job(*words)


GRIDS: dict[str, list[list[str]]] = {
    "every axis": [
        ["explainer=lrp", "explainer=grad_cam"],
        ["transform=rotation", "transform=gaussian_noise"],
        ["magnitude=small", "magnitude=single"],  # both ask for 10 degrees
        ["ranks=2", "ranks=4"],
    ],
    "parameters": [
        ["explainer=lrp"],
        ["explainer/rules=epsilon_plus", "explainer/rules=default"],
        ["transform.angle=[5,1,5]", "transform.angle=3.5"],
        ["transform.fill=edge"],
        ["metric=[rmse,ssim]"],
    ],
    "an experiment": [
        ["experiment=thesis_noise", "experiment=thesis_rotation"],
        ["model=vgg16", "model=alexnet"],
    ],
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_is_its_jobs(name: str) -> None:
    axes = GRIDS[name]
    jobs = [asked_by_a_job(*words) for words in itertools.product(*axes)]
    # The words of an axis as one word: key=a,b.
    keys = [axis[0].partition("=")[0] for axis in axes]
    swept = [
        f"{key}={','.join(word.partition('=')[2] for word in axis)}"
        for key, axis in zip(keys, axes, strict=True)
    ]
    assert told("-m", *swept, "hydra/launcher=basic", "hydra.verbose=false") == set.union(*jobs)


def test_an_experiment_that_brings_its_grid_along() -> None:
    rules = [f"explainer/rules=calibration_{number}" for number in range(8)]
    jobs = [asked_by_a_job("experiment=thesis_calibration", rule) for rule in rules]
    assert told("experiment=thesis_calibration") == set.union(*jobs)
    chosen = told("experiment=thesis_calibration", "explainer/rules=calibration_3")
    assert chosen == jobs[3]


def test_a_real_sweep_is_found_again(tmp_path: Path) -> None:
    words = (*FAST, "data.limit=1", "explainer.polarity=counter")
    assert call(tmp_path, "-m", *words, "transform.angle=1,[5,10]") == 0
    cells = status(tmp_path, grid([*words, "transform.angle=1,[5,10],20"]))
    assert [(cell.planned.magnitude, cell.state) for cell in cells] == [
        (1.0, "done"),
        (5.0, "done"),
        (10.0, "done"),
        (20.0, "missing"),
    ]
    assert {cell.planned.images for cell in cells} == {1}
    # Without the words: all that a job has planned.
    assert [cell.state for cell in status(tmp_path)] == ["done"] * 3
    assert len(list((tmp_path / "_plans").iterdir())) == 1  # both points are in one job


def test_torch_is_not_needed() -> None:
    script = (
        "import sys\n"
        "from xai_sweep.config.keys import add_schema\n"
        "from xai_sweep.sweep.plan import grid\n"
        "add_schema()\n"
        "assert len(grid(['magnitude=small', 'explainer=lrp,lime'])) == 8\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=True)

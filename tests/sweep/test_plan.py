"""Which cells a sweep is going to compute is known before any job, by the code that runs it."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from harness import FAST, call

from xai_sweep.config.entries import entries
from xai_sweep.config.keys import add_schema
from xai_sweep.store.plans import Planned
from xai_sweep.store.upkeep.status import status
from xai_sweep.sweep.plan import grid

add_schema()
ROOT = Path(__file__).parents[2]

Requests = set[tuple[object, ...]]


def requests(cells: list[Planned]) -> Requests:
    """The cells; no two of them are the same."""
    found = {(c.data, c.model, c.explainer, c.transform, c.magnitude, c.request) for c in cells}
    assert len(found) == len(cells)
    return found


@pytest.mark.parametrize("transform", entries("transform"))
def test_every_transform(transform: str) -> None:
    cells = grid([f"transform={transform}", "magnitude=large"])
    assert cells
    assert {cell.transform for cell in cells} == {transform}
    assert [cell.magnitude for cell in cells] == sorted({cell.magnitude for cell in cells})


GRIDS: dict[str, list[list[str]]] = {
    "every axis": [
        ["explainer=lrp", "explainer=grad_cam"],
        ["transform=rotation", "transform=gaussian_noise"],
        ["magnitude=small", "magnitude=single"],  # both request 10 degrees
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
def test_a_grid_is_its_points(name: str) -> None:
    axes = GRIDS[name]
    points = [requests(grid(words)) for words in itertools.product(*axes)]
    # The words of an axis as one word: key=a,b.
    keys = [axis[0].partition("=")[0] for axis in axes]
    swept = [
        f"{key}={','.join(word.partition('=')[2] for word in axis)}"
        for key, axis in zip(keys, axes, strict=True)
    ]
    whole = grid(["-m", *swept, "hydra/launcher=basic", "hydra.verbose=false"])
    assert requests(whole) == set.union(*points)


def test_an_experiment_that_brings_its_grid_along() -> None:
    rules = [f"explainer/rules=calibration_{number}" for number in range(8)]
    points = [
        requests(grid(["experiment=thesis_calibration", "hydra.mode=RUN", rule])) for rule in rules
    ]
    assert requests(grid(["experiment=thesis_calibration"])) == set.union(*points)
    chosen = grid(["experiment=thesis_calibration", "explainer/rules=calibration_3"])
    assert requests(chosen) == points[3]


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["explainer=grad_cam", "region_of=own,[5]"], 8),  # four angles each
        (["target=class,rank", "region=mask,none"], 16),
        (["transform=gaussian_noise", "magnitude=single", "draws=1,2"], 2),
        (["metric=[rmse],[ssim]"], 4),
        (["magnitude=single", "data.limit=1,2"], 1),  # the images decide, and are not read
    ],
)
def test_every_key_of_a_question_is_counted(words: list[str], count: int) -> None:
    assert len(grid(words)) == count


def test_what_a_region_is_of_is_counted_as_it_is_run(tmp_path: Path) -> None:
    words = (*FAST, "pictures=false", "data.limit=1", "transform.angle=1,[5,10]")
    grids = ("region_of=own,[5]",)
    assert call(tmp_path, "-m", *words, *grids) == 0
    cells = status(tmp_path, grid([*words, *grids]))
    assert [cell.state for cell in cells] == ["done"] * 6
    assert len(status(tmp_path)) == 6


def test_a_real_sweep_is_found_again(tmp_path: Path) -> None:
    words = (*FAST, "pictures=false", "data.limit=1", "explainer.polarity=both")
    assert call(tmp_path, "-m", *words, "transform.angle=1,[5,10]") == 0
    cells = status(tmp_path, grid([*words, "transform.angle=1,[5,10],20"]))
    assert [(cell.planned.magnitude, cell.state) for cell in cells] == [
        (1.0, "done"),
        (5.0, "done"),
        (10.0, "done"),
        (20.0, "missing"),
    ]
    assert {cell.planned.images for cell in cells} == {1}
    # Without the words: every cell of a plan, those of the sweeper's and of the job's plan once.
    assert [cell.state for cell in status(tmp_path)] == ["done"] * 3
    plans = [json.loads(path.read_text()) for path in (tmp_path / "_plans").iterdir()]
    named = [[bool(cell["name"]) for cell in plan["cells"]] for plan in plans]
    assert sorted(named) == [[False] * 3, [True] * 3]


def test_what_no_job_has_begun_is_missing(tmp_path: Path) -> None:
    # The first point fails before it is a curve, and the sweep stops.
    words = (*FAST, "pictures=false", "on_error=stop", "transform.angle=1,5")
    models = "model.weights=nowhere.pt,default"
    assert call(tmp_path, "-m", *words, models, "cells_per_job=1", "data.limit=1") == 2
    cells = status(tmp_path)
    assert [cell.planned.name for cell in cells] == [""] * 4
    assert [cell.state for cell in cells] == ["missing"] * 4
    assert {cell.planned.data for cell in cells} == {"samples"}


def test_a_point_that_makes_no_sense_is_not_planned(tmp_path: Path) -> None:
    words = (*FAST, "pictures=false", "data.limit=1")
    assert call(tmp_path, "-m", *words, "transform.angle=1,abc") == 2
    assert [cell.planned.magnitude for cell in status(tmp_path)] == [1.0]


def test_the_state_of_a_folder_needs_no_torch(tmp_path: Path) -> None:
    assert call(tmp_path, "-m", *FAST, "pictures=false", "data.limit=1", "transform.angle=1,2") == 0
    script = (
        "import sys\n"
        f"sys.argv = ['xai-sweep', 'status', {str(tmp_path)!r}]\n"
        "from xai_sweep.commands.main import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as leaving:\n"
        "    assert not leaving.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)

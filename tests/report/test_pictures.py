"""Which pictures a results folder gets: one per curve, strips of the worst images, references."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from stored import COLUMNS, ENTRIES

from xai_sweep.report import figures, terminal
from xai_sweep.report.pictures import publish_curve, publish_side_by_side
from xai_sweep.store.manifest import described_columns
from xai_sweep.store.store import Store


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """The figures that were written, by the name of the file."""
    found: dict[str, Figure] = {}

    def save(figure: Figure, path: Path) -> Path:
        found[path.stem] = figure
        return path

    monkeypatch.setattr(figures, "save", save)
    return found


@pytest.fixture
def write(tmp_path: Path, make_table: Any, make_heatmaps: Any) -> Callable[..., None]:
    """Writes the cell of one magnitude of a curve."""

    def write(
        curve: str, magnitude: float = 5.0, identity: dict[str, object] | None = None, **row: Any
    ) -> None:
        cell = Store(tmp_path).cell(f"{curve}-{magnitude}")
        cell.begin(ENTRIES)
        rows = {"question": curve, "cell": cell.path.name, "magnitude": magnitude, **row}
        images = ["cat", "coffee", "rocket"]
        cell.write(make_table(images, **rows), make_heatmaps(images))
        cell.finish(
            {
                **{"curve": curve, "question": curve, "unit": "degrees", "magnitude": magnitude},
                "identity": {"explainer": {}, **(identity or {})},
                "columns": described_columns({each.name: [each] for each in COLUMNS}),
            }
        )

    return write


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def first_titles(figure: Figure) -> list[str]:
    """The names beside the photos."""
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.images]
    return [title.split("\n")[0] for title in titles if not title.startswith(("1  ", "2  "))]


def test_a_curve_and_the_strips_of_its_worst_images(tmp_path, write, saved) -> None:
    for magnitude in (5.0, 10.0):
        write("a", magnitude)
    write("b", 20.0)
    pictures = publish_curve(tmp_path, "a", strips=2)
    assert list(pictures) == ["curves", "strip-rocket", "strip-cat"]
    assert pictures["curves"] == tmp_path / "_figures" / "a" / "curves.png"
    (panel,) = saved["curves"].axes
    assert panel.get_xlabel() == "angle [degrees]"
    assert panel.get_ylabel() == "rmse"
    assert list(panel.lines[0].get_xdata()) == [5.0, 10.0]
    assert first_titles(saved["strip-rocket"]) == ["photo", "angle 5", "angle 10"]
    assert list(publish_curve(tmp_path, "a", strips=0)) == ["curves"]


def test_settings_side_by_side_by_what_differs(tmp_path, write, saved) -> None:
    write("a", identity={"explainer": "lime"}, explainer="lime")
    write("b", identity={"explainer": "lrp"}, explainer="lrp")
    # What the references do not depend on makes no further line.
    write("c", identity={"explainer": "lrp", "region": "none"}, explainer="lrp", region="none")
    pictures = publish_side_by_side(tmp_path)
    assert list(pictures) == [f"side-by-side-{name}" for name in ("cat", "coffee", "rocket")]
    figure = saved["side-by-side-cat"]
    assert first_titles(figure) == ["lime", "lrp"]
    assert texts(figure)[:2] == ["cat", "reference heatmaps in 2 settings"]


def test_other_seeds_and_other_weights_are_lines_of_their_own(tmp_path, write, saved) -> None:
    write("a", identity={"seed": 0})
    write("b", identity={"seed": 1}, seed=1)
    write("c", identity={"seed": 1, "weights": "others"}, seed=1)
    publish_side_by_side(tmp_path)
    assert first_titles(saved["side-by-side-cat"]) == ["seed 0", "seed 1 b", "seed 1 c"]


def test_images_of_two_data_sets_are_never_in_one_picture(tmp_path, write, saved) -> None:
    write("a", identity={"data": "1"}, data="one-1")
    write("b", identity={"data": "2"}, data="two-2")
    assert publish_side_by_side(tmp_path) == {}
    write("c", identity={"data": "1", "seed": 1}, data="one-1", seed=1)
    write("d", identity={"data": "2", "seed": 1}, data="two-2", seed=1)
    assert list(publish_side_by_side(tmp_path))[:2] == [
        "side-by-side-one-1-cat",
        "side-by-side-one-1-coffee",
    ]
    assert first_titles(saved["side-by-side-two-2-cat"]) == ["seed 0", "seed 1"]


def test_a_folder_as_a_whole(tmp_path, write, saved, capsys) -> None:
    write("a", identity={"region": "mask"}, rmse=0.0275)
    write("b", identity={"region": "none"}, region="none", rmse=0.0439)
    terminal.print_report(tmp_path, strips=1)
    printed = capsys.readouterr().out
    lines = [line.split("│") for line in printed.splitlines() if "angle 5" in line]
    assert [(line[1].strip(), line[6].strip()) for line in lines] == [
        ("mask", "0.0275"),
        ("none", "0.0439"),
    ]
    assert printed.splitlines()[-1] == f"pictures  {tmp_path / '_figures'}"

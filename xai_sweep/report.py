"""What a person gets at the end: a table, pictures, and where things lie."""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from xai_sweep.results import heatmaps, load, manifests, summary
from xai_sweep.tracking import Tracker

FIGURES = "_figures"


def report_folder(results: str | Path, strips: int = 6) -> None:
    """Print the table of every finished cell below a results folder, and draw every curve.

    Raises:
        InputError: no folder, or nothing finished in it.
    """
    show(load(results))
    for curve in sorted({str(manifest["curve"]) for manifest in manifests(results)}):
        draw(Path(results), curve, strips)
    print(f"pictures  {Path(results) / FIGURES}")


def show(rows: pd.DataFrame) -> None:
    """Print the summary: a line per magnitude."""
    table = Table()
    means = {"rmse": "RMSE", "nrmse": "nRMSE", "spearman": "Spearman"}
    lines = summary(rows)
    names = ["data", "model", "explainer", "transform"]
    # What is the same everywhere stands in the title, once.
    shared = [name for name in names if lines[name].nunique() == 1]
    table.title = " · ".join(str(lines[name].iloc[0]) for name in shared)
    for name in [name for name in names if name not in shared]:
        table.add_column(name, overflow="fold")
    for name in ("magnitude", "images", "failed", "flipped", *means.values()):
        table.add_column(name, justify="right")
    for line in lines.to_dict("records"):
        table.add_row(
            *[str(line[name]) for name in names if name not in shared],
            f"{line['parameter']} {line['magnitude']:g}",
            str(line["images"]),
            str(line["failed"]),
            _number(line["flipped"], ".0%"),
            *[_number(line[name], ".4g") for name in means],
        )
    Console().print(table)


def say(cells: int, computed: int, places: Mapping[str, object]) -> None:
    """Print what was computed, and where everything lies."""
    found = f", {cells - computed} were finished before" if cells > computed else ""
    print(f"{'cells':<9} {computed} computed{found}")
    for name, place in places.items():
        if place:
            print(f"{name:<9} {place}")


def _number(value: object, form: str) -> str:
    return "-" if pd.isna(value) else format(float(value), form)  # type: ignore[call-overload,arg-type]


def draw(results: Path, curve: str, strips: int) -> dict[str, Path]:
    """Draw one curve from its finished cells: RMSE over the magnitude, and heatmap strips.

    Args:
        results: the results folder.
        curve: name of the curve.
        strips: how many images, worst first; only those whose heatmaps were kept.

    Returns:
        Pictures by name.
    """
    # seaborn takes a second to import, which a job with nothing to do need not pay.
    from xai_sweep import plots

    cells = sorted(path.parent for path in (results / "cells").glob(f"{curve}-*/_manifest.json"))
    target = manifests(cells[0])[0]["science"]["target"]  # type: ignore[index]
    by_cell = {cell: load(cell) for cell in cells}
    rows = pd.concat(by_cell.values(), ignore_index=True)
    folder = results / FIGURES / curve
    pictures = {"curves": plots.save(plots.curves(rows), folder / "curves.png")}
    wanted = _worst(rows)[:strips]
    kept = {rows["magnitude"].iloc[0]: heatmaps(cell, wanted) for cell, rows in by_cell.items()}
    for image_id in wanted:
        shown = {
            magnitude: maps.select([maps.image_id.index(image_id)])
            for magnitude, maps in kept.items()
            if maps is not None and image_id in maps.image_id
        }
        if shown:
            figure = plots.strip(shown, rows[rows["image_id"] == image_id], target=target)
            name = f"strip-{re.sub(r'[^A-Za-z0-9_.-]+', '_', image_id)}"
            pictures[name] = plots.save(figure, folder / f"{name}.png")
    return pictures


def _worst(rows: pd.DataFrame) -> list[str]:
    """Images by mean RMSE over magnitudes and ranks, worst first, failed ones left out."""
    means = rows.groupby("image_id")["rmse"].mean().dropna()
    return [str(name) for name in means.sort_values(ascending=False, kind="stable").index]


def track(tracker: Tracker, rows: pd.DataFrame, pictures: Mapping[str, Path]) -> None:
    """Tell a tracker what a person is told."""
    tracker.summary(summary(rows))
    for name, path in pictures.items():
        tracker.figure(name, path)

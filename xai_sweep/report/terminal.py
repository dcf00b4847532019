"""What a person gets at the end: a table, pictures, and where things lie."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xai_sweep.core.errors import SomeFailedError
from xai_sweep.results import heatmaps, load, manifests, needed_columns, summary
from xai_sweep.statistics.instability import splits
from xai_sweep.store.failures import FAILURES, Failed
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.tracking import Tracker

FIGURES = "_figures"
# Of what failed for the same reason.
_NAMED = 5


def report_folder(results: str | Path, strips: int = 6) -> None:
    """Print the table of every finished cell below a results folder, and draw every curve.

    Raises:
        InputError: no folder, or nothing finished in it.
    """
    finished = manifests(results)
    metrics = {str(name) for manifest in finished for name in manifest["metrics"]}  # type: ignore[attr-defined]
    show(load(results, needed_columns(metrics)))
    show_split(splits(results))
    for curve in sorted({str(manifest["curve"]) for manifest in finished}):
        draw(Path(results), curve, strips)
    draw_side_by_side(Path(results))
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


def show_split(parts: pd.DataFrame) -> None:
    """Print what the squared differences consist of; nothing if no two runs belong together."""
    if parts.empty:
        return
    table = Table(title="squared RMSE with own superpixels, and where it comes from")
    for name in ("model", "transform", "magnitude", "images", "squared"):
        table.add_column(name)
    for name in ("sampling", "segmentation", "rest"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for line in parts.to_dict("records"):
        shares = [
            line[name] / line["squared"] if line["squared"] else None
            for name in ("sampling", "segmentation", "rest")
        ]
        table.add_row(
            str(line["model"]),
            str(line["transform"]),
            f"{line['parameter']} {line['magnitude']:g}",
            str(line["images"]),
            _number(line["squared"], ".4g"),
            *[_number(share, ".0%") for share in shares],
        )
    Console().print(table)


def say(cells: int, computed: int, places: Mapping[str, object]) -> None:
    """Print what was computed, and where everything lies."""
    found = f", {cells - computed} were finished before" if cells > computed else ""
    print(f"{'cells':<9} {computed} computed{found}")
    for name, place in places.items():
        if place:
            print(f"{name:<9} {place}")


def conclude(failed: Sequence[Failed], results: Path, *, stopped: bool) -> None:
    """Print a table of what failed in a multirun, what failed for the same reason together.

    Raises:
        SomeFailedError: always; what to do, in one line.
    """
    reasons: dict[str, list[str]] = {}
    for each in failed:
        reasons.setdefault(each.error, []).append(each.what)
    table = Table(title="failed", show_lines=True)
    table.add_column("what", overflow="fold")
    table.add_column("why", overflow="fold")
    for reason, names in reasons.items():
        more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
        table.add_row(Text("\n".join([*names[:_NAMED], *more])), Text(reason))
    Console(stderr=True).print(table)
    code = 2 if all(each.is_input for each in failed) else 1
    if not all(each.overrides for each in failed):  # nobody knows what it would have computed
        todo = "the same command again computes what is missing"
        raise SomeFailedError(f"{len(failed)} failed; {todo}", code)
    rest = "the sweep stopped" if stopped else "all the rest is complete"
    todo = f"to compute them again: xai-sweep retry {shlex.quote(str(results))}"
    raise SomeFailedError(f"{len(failed)} failed, {rest}; why: {results / FAILURES}; {todo}", code)


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
    from xai_sweep.report import figures as plots

    cells = sorted(path.parent for path in (results / "cells").glob(f"{curve}-*/_manifest.json"))
    of_cell = {cell: manifests(cell)[0] for cell in cells}
    first: Any = of_cell[cells[0]]
    rows = load(cells, needed_columns(first["metrics"]))
    folder = results / FIGURES / curve
    pictures = {"curves": plots.save(plots.curves(rows), folder / "curves.png")}
    wanted = _worst(rows)[:strips]
    if not wanted:
        return pictures
    kept: dict[Any, Heatmaps | None] = {
        manifest["magnitude"]: heatmaps(cell, wanted) for cell, manifest in of_cell.items()
    }
    # All columns of these few.
    rows = load(cells, filters=[("image_id", "in", wanted)])
    for image_id in wanted:
        shown = {
            magnitude: maps.select([maps.image_id.index(image_id)])
            for magnitude, maps in kept.items()
            if maps is not None and image_id in maps.image_id
        }
        if shown:
            figure = plots.strip(
                shown, rows[rows["image_id"] == image_id], target=first["identity"]["target"]
            )
            name = f"strip-{_safe(image_id)}"
            pictures[name] = plots.save(figure, folder / f"{name}.png")
    return pictures


def draw_side_by_side(results: Path) -> dict[str, Path]:
    """Draw every image's reference heatmaps under all models and explainers of a results folder.

    Returns:
        Pictures by name; none if there is only one model with one explainer.
    """
    from xai_sweep.report import figures as plots

    images: dict[str, dict[str, tuple[Heatmaps, pd.DataFrame]]] = {}
    first: dict[str, Path] = {}
    for path in sorted((results / "cells").glob("*/_manifest.json")):
        # Of a curve the smallest magnitude is enough: the references are the same.
        first.setdefault(str(manifests(path.parent)[0]["curve"]), path.parent)
    for cell in first.values():
        kept = heatmaps(cell)
        if kept is None:
            continue
        rows = load(cell, filters=[("image_id", "in", kept.image_id)])
        for image_id in kept.image_id:
            of_image = rows[rows["image_id"] == image_id]
            name = f"{of_image['model'].iloc[0]} {of_image['explainer'].iloc[0]}"
            one = kept.select([kept.image_id.index(image_id)])
            images.setdefault(image_id, {})[name] = (one, of_image)
    folder = results / FIGURES
    return {
        f"side-by-side-{_safe(image_id)}": plots.save(
            plots.side_by_side(_without_shared_words(shown)),
            folder / f"side-by-side-{_safe(image_id)}.png",
        )
        for image_id, shown in images.items()
        if len(shown) > 1
    }


def _without_shared_words(
    shown: Mapping[str, tuple[Heatmaps, pd.DataFrame]],
) -> dict[str, tuple[Heatmaps, pd.DataFrame]]:
    """What all names have in common says nothing beside each photo."""
    models = {name.split()[0] for name in shown}
    explainers = {name.split()[1] for name in shown}
    drop = models if len(models) == 1 else explainers if len(explainers) == 1 else set()
    return {
        " ".join(word for word in name.split() if word not in drop): value
        for name, value in sorted(shown.items())
    }


def _safe(image_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", image_id)


def _worst(rows: pd.DataFrame) -> list[str]:
    """Images by mean RMSE over magnitudes and ranks, worst first, failed ones left out."""
    means = rows.groupby("image_id")["rmse"].mean().dropna()
    return [str(name) for name in means.sort_values(ascending=False, kind="stable").index]


def track(
    tracker: Tracker, rows: pd.DataFrame, pictures: Mapping[str, Path], cells: Sequence[Path]
) -> None:
    """Tell a tracker what a person is told, and where the rows lie."""
    tracker.summary(summary(rows))
    for name, path in pictures.items():
        tracker.figure(name, path)
    tracker.rows(cells)

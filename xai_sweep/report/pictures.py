"""Which pictures a results folder gets, and where they are written."""

import json
import re
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from xai_sweep.report.content import load_rows
from xai_sweep.statistics.summary import distinguishing
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.reading import heatmaps, load, manifests
from xai_sweep.store.schema import QUESTION

FIGURES = "_figures"
# The reference heatmaps of a clean image do not depend on these.
_OF_THE_CHANGE = frozenset({"transform", "target", "region", "region_of", "draws", "metric"})
_SETTING = ("model", "explainer", "seed")

# By name: the heatmaps of one image, and its rows.
_Shown = dict[str, tuple[Heatmaps, pd.DataFrame]]


def publish_curve(results: Path, curve: str, strips: int) -> dict[str, Path]:
    """Plot one curve from its finished cells: a metric over the magnitude, and heatmap strips.

    The metric is RMSE, or the first one if that was not computed.

    Args:
        results: the results folder.
        curve: name of the curve.
        strips: how many images, worst first; only those whose heatmaps were kept.

    Returns:
        Pictures by name.
    """
    # seaborn takes a second to import, which a job with nothing to do need not pay.
    from xai_sweep.report import figures

    cells = sorted(path.parent for path in (results / "cells").glob(f"{curve}-*/_manifest.json"))
    contents = {cell: manifests(cell)[0] for cell in cells}
    rows = load_rows(cells)
    units = {str(content["question"]): str(content["unit"]) for content in contents.values()}
    folder = results / FIGURES / curve
    metric, better = _main_metric(contents[cells[0]])
    if not metric:
        return {}
    pictures = {
        "curves": figures.save(figures.plot_curves(rows, metric, units), folder / "curves.png")
    }
    wanted = _worst(rows, metric, ascending=better == "higher")[:strips]
    kept = {
        content["magnitude"]: heatmaps(cell, wanted) if wanted else None
        for cell, content in contents.items()
    }
    if any(kept.values()):
        # All columns of these few images.
        rows = load(cells, filters=[("image_id", "in", wanted)])
    for image_id in wanted:
        shown = {
            magnitude: maps.select([maps.image_id.index(image_id)])
            for magnitude, maps in kept.items()
            if maps is not None and image_id in maps.image_id
        }
        if shown:
            figure = figures.plot_strip(shown, rows[rows["image_id"] == image_id])
            name = f"strip-{_safe(image_id)}"
            pictures[name] = figures.save(figure, folder / f"{name}.png")
    return pictures


def publish_side_by_side(results: Path) -> dict[str, Path]:
    """Plot every image's reference heatmaps under all settings of a results folder.

    A setting is a data set, model (with its weights), explainer, seed and number of ranks. Images
    of different data sets are never in one picture.

    Returns:
        Pictures by name; none if there is only one setting.
    """
    from xai_sweep.report import figures

    images: dict[tuple[str, str], _Shown] = {}
    for data, settings in _settings(results).items():
        names = _names([rows for _, rows in settings])
        for name, (kept, rows) in sorted(zip(names, settings, strict=True), key=itemgetter(0)):
            for at, image_id in enumerate(kept.image_id):
                of_image = rows[rows["image_id"] == image_id]
                images.setdefault((data, image_id), {})[name] = (kept.select([at]), of_image)
    shown = {key: lines for key, lines in images.items() if len(lines) > 1}
    several = len({data for data, _ in shown}) > 1
    pictures = {}
    for (data, image_id), lines in shown.items():
        name = f"side-by-side-{_safe(f'{data}-{image_id}' if several else image_id)}"
        path = results / FIGURES / f"{name}.png"
        pictures[name] = figures.save(figures.plot_side_by_side(lines), path)
    return pictures


def _settings(results: Path) -> dict[str, list[tuple[Heatmaps, pd.DataFrame]]]:
    """By data set, the heatmaps of each setting that has any, and the rows of their images."""
    cells: dict[str, Path] = {}
    for path in sorted((results / "cells").glob("*/_manifest.json")):
        # Any cell of a setting is enough: the references are the same in all of them.
        identity = manifests(path.parent)[0]["identity"]
        key = {name: value for name, value in identity.items() if name not in _OF_THE_CHANGE}
        cells.setdefault(json.dumps(key, sort_keys=True), path.parent)
    found: dict[str, list[tuple[Heatmaps, pd.DataFrame]]] = {}
    for cell in cells.values():
        kept = heatmaps(cell)
        if kept is not None:
            rows = load(cell, filters=[("image_id", "in", kept.image_id)])
            found.setdefault(str(rows["data"].iloc[0]), []).append((kept, rows))
    return found


def _names(rows: Sequence[pd.DataFrame]) -> list[str]:
    """A name for each setting, by what distinguishes it."""
    lines = pd.DataFrame([each.iloc[0] for each in rows], columns=[*QUESTION])
    differing = distinguishing(lines, _SETTING)
    texts = [" ".join(_words(line, differing)) for line in lines.to_dict("records")]
    # The same names, and so other weights or numbers of ranks.
    return [
        text if texts.count(text) == 1 else f"{text} {line['question']}".strip()
        for text, line in zip(texts, lines.to_dict("records"), strict=True)
    ]


def _words(line: Mapping[Any, Any], differing: Sequence[str]) -> list[str]:
    return [f"seed {line[name]}" if name == "seed" else str(line[name]) for name in differing]


def _main_metric(content: Mapping[str, Any]) -> tuple[str, str | None]:
    """The metric that a curve shows, and which values of it are better.

    RMSE, or the first metric if it was not computed; empty if there is none.
    """
    metrics = {
        name: facts["better"]
        for name, facts in content["columns"].items()
        if facts["metric"] is not None and facts["kind"] == "float64"
    }
    name = "rmse" if "rmse" in metrics else next(iter(metrics), "")
    return name, metrics.get(name)


def _safe(image_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", image_id)


def _worst(rows: pd.DataFrame, metric: str, *, ascending: bool) -> list[str]:
    """Images by their mean over magnitudes, draws and ranks, failed ones left out."""
    means = rows.groupby("image_id")[metric].mean().dropna()
    return [str(name) for name in means.sort_values(ascending=ascending, kind="stable").index]

"""`xai-sweep representatives`: the few images that show most of what the explanations look at."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray
from rich.console import Console
from rich.table import Table

from xai_sweep.config.cells import digest
from xai_sweep.core.errors import InputError, unknown_key
from xai_sweep.report.pictures import FIGURES
from xai_sweep.statistics.submodular_pick import Pick, explanation_matrix, submodular_pick
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.reading import finished_cells, heatmap_parts, heatmaps, load

FILTERS = ("data", "model", "explainer", "transform", "magnitude", "seed")
# Images to pick, the rank whose heatmap counts, cells along a side of the grid and of an image.
OPTIONS: Mapping[str, int] = {"count": 5, "rank": 1, "grid": 8, "cells": 10}
# What the heatmap of a clean image does not depend on.
_OF_COPIES = ("transform", "metric", "target", "region", "region_of")


def representatives(results: str | Path, words: Sequence[str]) -> None:
    """Pick images by their stored reference heatmaps; print a table and draw a picture of them.

    Each data set, model, explainer and seed is a setting of its own. See
    `xai_sweep.statistics.submodular_pick` for how they are picked.

    Args:
        results: a results folder, or the folder of a cell.
        words: ``column=value`` with a column of `FILTERS`; ``--option N`` with one of `OPTIONS`.

    Raises:
        InputError: such words, no finished cell, or no heatmaps.
    """
    options, filters = _parsed(words)
    rows = load(results, ["cell", "image_id", "rank", "label_ref", "prob_ref"])
    picked = False
    for manifest, cells in _settings(results, filters):
        weights = _weights(cells, options)
        if weights:
            names, pick = _picked(weights, options["count"])
            of_setting = rows[rows["cell"].isin(cells.values())]
            _show(manifest, of_setting, names, pick, options["rank"], len(weights))
            print(f"picture   {_draw(Path(results), manifest, of_setting, names, cells)}")
            picked = True
    if not picked:
        raise InputError(
            "path",
            results,
            "a folder with heatmaps; none were kept that are finite and not 0: run the same "
            "command again with keep_heatmaps=all force=true",
        )


def _parsed(words: Sequence[str]) -> tuple[dict[str, int], dict[str, str]]:
    """Options and filters."""
    options, filters, left = dict(OPTIONS), {}, list(words)
    while left:
        word = left.pop(0)
        name, given, value = word.partition("=")
        if not word.startswith("--"):
            if name not in FILTERS:
                raise unknown_key(name, value, FILTERS)
            filters[name] = value
            continue
        option = name.removeprefix("--")
        if option not in options:
            raise unknown_key(name, value, [f"--{each}" for each in options])
        if not given:
            value = left.pop(0) if left else ""
        if not (value.isdecimal() and int(value)):
            raise InputError(name, value, "must be a whole number of at least 1")
        options[option] = int(value)
    return options, filters


def _settings(
    results: str | Path, filters: Mapping[str, str]
) -> list[tuple[Mapping[str, object], dict[Path, object]]]:
    """The manifest of one cell of each setting; its cells' folders and keys."""
    found = finished_cells(results)
    for column, value in filters.items():
        there = sorted({_spelled(manifest[column]) for manifest in found.values()})
        found = {
            cell: manifest
            for cell, manifest in found.items()
            # An explainer is meant with all its parameters, or with any: lime, lime(seed=1).
            if value in (_spelled(manifest[column]), _spelled(manifest[column]).partition("(")[0])
        }
        if not found:
            raise InputError(column, value, f"must be one of {', '.join(there)}")
    settings: dict[str, tuple[Mapping[str, object], dict[Path, object]]] = {}
    for cell, manifest in sorted(found.items()):
        _, cells = settings.setdefault(_key(manifest), (manifest, {}))
        cells[cell] = manifest["cell"]
    return list(settings.values())


def _key(manifest: Mapping[str, object]) -> str:
    science = manifest["identity"]
    assert isinstance(science, dict)
    return digest({name: value for name, value in science.items() if name not in _OF_COPIES})


def _spelled(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _weights(cells: Iterable[Path], options: Mapping[str, int]) -> dict[str, Float[ndarray, " d"]]:
    """Of each image whose heatmap was kept, is finite and not 0, in order of its name.

    With one file in memory at a time; an image kept in several cells has the same reference.
    """
    found: dict[str, Float[ndarray, " d"]] = {}
    for cell in cells:
        for part in heatmap_parts(cell):
            ranks = part.reference.shape[1]
            if options["rank"] > ranks:
                raise InputError("--rank", options["rank"], f"must be at most {ranks}")
            maps = part.reference[:, options["rank"] - 1]
            says = np.isfinite(maps).all(axis=(1, 2)) & maps.any(axis=(1, 2))
            matrix = explanation_matrix(maps[says], options["grid"], options["cells"])
            found |= zip(np.array(part.image_id)[says].tolist(), matrix, strict=True)
    return dict(sorted(found.items()))


def _picked(weights: Mapping[str, Float[ndarray, " d"]], count: int) -> tuple[list[str], Pick]:
    names, matrix = list(weights), np.stack(list(weights.values()))
    pick = submodular_pick(matrix, count)
    return [names[index] for index in pick.indices], pick


def _show(
    manifest: Mapping[str, object],
    rows: pd.DataFrame,
    names: Sequence[str],
    pick: Pick,
    rank: int,
    kept: int,
) -> None:
    images = rows["image_id"].nunique()
    table = Table(title=_title(manifest))
    table.add_column("image", overflow="fold")
    table.add_column(f"class of rank {rank}")
    for column in ("p", "gain", "coverage"):
        table.add_column(column, justify="right")
    facts = rows[rows["rank"] == rank].drop_duplicates("image_id").set_index("image_id")
    for name, gain, covered in zip(names, pick.gains, np.cumsum(pick.gains), strict=True):
        fact = facts.loc[name]
        probability = f"{fact['prob_ref']:.1%}"
        table.add_row(name, str(fact["label_ref"]), probability, f"{gain:.1%}", f"{covered:.1%}")
    Console().print(table)
    if kept < images:
        print(f"picked from the {kept} of {images} images with heatmaps; keep_heatmaps=all has all")


def _draw(
    results: Path,
    manifest: Mapping[str, object],
    rows: pd.DataFrame,
    names: Sequence[str],
    cells: Iterable[Path],
) -> Path:
    # seaborn takes a second to import, which a wrong word need not pay.
    from xai_sweep.report import figures as plots

    found: dict[str, Heatmaps] = {}
    for cell in cells:
        kept = heatmaps(cell, names)
        if kept is not None:
            found |= {name: kept.select([at]) for at, name in enumerate(kept.image_id)}
    shown = {name: (found[name], rows[rows["image_id"] == name]) for name in names}
    figure = plots.plot_representatives(
        shown, f"{len(names)} representative images", _title(manifest)
    )
    words = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{manifest['model']}-{manifest['explainer']}")
    name = f"representatives-{words[:120]}-{_key(manifest)[:12]}.png"
    return plots.save(figure, results / FIGURES / name)


def _title(manifest: Mapping[str, object]) -> str:
    names = [str(manifest[name]) for name in ("data", "model", "explainer")]
    return " · ".join([*names, f"seed {manifest['seed']}"])

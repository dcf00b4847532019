"""Representative images: those that together show most of what the explanations look at.

They are picked by their stored reference heatmaps, see `xai_sweep.statistics.submodular_pick`. Each
data set, model, explainer and seed is a setting of its own.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from xai_sweep.config.cells import digest
from xai_sweep.config.keys import Decides, keys
from xai_sweep.core.errors import InputError
from xai_sweep.report.pictures import FIGURES
from xai_sweep.statistics.submodular_pick import explanation_matrix, submodular_pick
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.reading import finished_cells, heatmap_parts, heatmaps, load

# What the heatmap of a clean image does not depend on.
_OF_COUNTERPARTS = keys(Decides.CELL, Decides.CURVE)


@dataclass(frozen=True)
class Options:
    """How images are picked.

    Attributes:
        count: how many images.
        rank: the rank whose heatmap counts, from 1.
        grid: cells along a side of the grid that heatmaps are summed over.
        cells: the cells of an image that count: its largest.
    """

    count: int
    rank: int
    grid: int
    cells: int


@dataclass(frozen=True)
class PickedImage:
    """An image that was picked.

    Attributes:
        image_id: its name.
        label: its class of the rank.
        probability: of that class.
        gain: what it adds to the coverage.
        coverage: share of all importance that it and the images before it cover.
    """

    image_id: str
    label: str
    probability: float
    gain: float
    coverage: float


@dataclass(frozen=True, eq=False)
class Setting:
    """The images picked for one data set, model, explainer and seed.

    Attributes:
        data, model, explainer, seed: which.
        picked: the images, in the order of the pick.
        candidates: images with usable heatmaps, from which they are picked.
        images: images of the data set.
        picture: where they are shown.
    """

    data: str
    model: str
    explainer: str
    seed: int
    picked: tuple[PickedImage, ...]
    candidates: int
    images: int
    picture: Path

    @property
    def title(self) -> str:
        """For a person to read."""
        return f"{self.data} · {self.model} · {self.explainer} · seed {self.seed}"


def representatives(
    results: str | Path, filters: Mapping[str, str], options: Options
) -> Iterator[Setting]:
    """Pick images for each setting, and plot them.

    Args:
        results: a results folder, or the folder of a cell.
        filters: values of columns; an explainer is named with its parameters or without.
        options: how.

    Yields:
        Each setting, after its picture was written.

    Raises:
        InputError: a filter that matches nothing, no finished cell, or no heatmaps.
    """
    rows = load(results, ["cell", "image_id", "rank", "label_ref", "prob_ref"])
    found_any = False
    for manifest, cells in _settings(results, filters):
        weights = _weights(cells, options)
        if weights:
            of_setting = rows[rows["cell"].isin(list(cells.values()))]
            yield _picked(Path(results), manifest, cells, of_setting, weights, options)
            found_any = True
    if not found_any:
        raise InputError(
            "path",
            results,
            "a folder with heatmaps; none were kept that are finite and not 0: run the same "
            "command again with keep_heatmaps=all force=true",
        )


def _settings(
    results: str | Path, filters: Mapping[str, str]
) -> list[tuple[Mapping[str, object], dict[Path, object]]]:
    """The manifest of one cell of each setting; its cells' folders and keys."""
    found = finished_cells(results)
    for column, value in filters.items():
        known = sorted({_spelled(manifest[column]) for manifest in found.values()})
        found = {
            cell: manifest
            for cell, manifest in found.items()
            # An explainer is meant with all its parameters, or with any: lime, lime(seed=1).
            if value in (_spelled(manifest[column]), _spelled(manifest[column]).partition("(")[0])
        }
        if not found:
            raise InputError(column, value, f"must be one of {', '.join(known)}")
    settings: dict[str, tuple[Mapping[str, object], dict[Path, object]]] = {}
    for cell, manifest in sorted(found.items()):
        _, cells = settings.setdefault(_key(manifest), (manifest, {}))
        cells[cell] = manifest["cell"]
    return list(settings.values())


def _key(manifest: Mapping[str, object]) -> str:
    identity = manifest["identity"]
    assert isinstance(identity, dict)
    return digest({name: each for name, each in identity.items() if name not in _OF_COUNTERPARTS})


def _spelled(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _weights(cells: Iterable[Path], options: Options) -> dict[str, Float[ndarray, " d"]]:
    """For each image whose heatmap was kept, is finite and not 0, in order of its name.

    One file is in memory at a time; an image kept in several cells has the same reference.
    """
    found: dict[str, Float[ndarray, " d"]] = {}
    for cell in cells:
        for part in heatmap_parts(cell):
            ranks = part.reference.shape[1]
            if options.rank > ranks:
                raise InputError("--rank", options.rank, f"must be at most {ranks}")
            maps = part.reference[:, options.rank - 1]
            usable = np.isfinite(maps).all(axis=(1, 2)) & maps.any(axis=(1, 2))
            matrix = explanation_matrix(maps[usable], options.grid, options.cells)
            found |= zip(np.array(part.image_id)[usable].tolist(), matrix, strict=True)
    return dict(sorted(found.items()))


def _picked(
    results: Path,
    manifest: Mapping[str, object],
    cells: Iterable[Path],
    rows: pd.DataFrame,
    weights: Mapping[str, Float[ndarray, " d"]],
    options: Options,
) -> Setting:
    names = list(weights)
    pick = submodular_pick(np.stack(list(weights.values())), options.count)
    facts = rows[rows["rank"] == options.rank].drop_duplicates("image_id").set_index("image_id")
    picked = tuple(
        PickedImage(
            names[index],
            str(facts.loc[names[index]]["label_ref"]),
            float(str(facts.loc[names[index]]["prob_ref"])),
            float(gain),
            float(coverage),
        )
        for index, gain, coverage in zip(
            pick.indices, pick.gains, np.cumsum(pick.gains), strict=True
        )
    )
    folder = results / FIGURES
    words = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{manifest['model']}-{manifest['explainer']}")
    setting = Setting(
        data=str(manifest["data"]),
        model=str(manifest["model"]),
        explainer=str(manifest["explainer"]),
        seed=int(str(manifest["seed"])),
        picked=picked,
        candidates=len(weights),
        images=rows["image_id"].nunique(),
        picture=folder / f"representatives-{words[:120]}-{_key(manifest)[:12]}.png",
    )
    _plot(setting, rows, cells)
    return setting


def _plot(setting: Setting, rows: pd.DataFrame, cells: Iterable[Path]) -> None:
    # seaborn takes a second to import, which an error need not pay.
    from xai_sweep.report import figures

    names: Sequence[str] = [each.image_id for each in setting.picked]
    found: dict[str, Heatmaps] = {}
    for cell in cells:
        kept = heatmaps(cell, names)
        if kept is not None:
            found |= {name: kept.select([at]) for at, name in enumerate(kept.image_id)}
    shown = {name: (found[name], rows[rows["image_id"] == name]) for name in names}
    title = f"{len(names)} representative images"
    figures.save(figures.plot_representatives(shown, title, setting.title), setting.picture)

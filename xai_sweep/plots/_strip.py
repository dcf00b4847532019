"""The heatmaps of one image over all magnitudes: the layout of thesis figure 8.26."""

from collections.abc import Mapping
from typing import Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from xai_sweep.plots._figure import shortened
from xai_sweep.results import Heatmaps

# Inches. Positions are computed: an automatic layout of 60 axes takes seconds and drifts.
_TILE, _GAP, _TITLE, _HEAD, _FOOT, _BAR, _SIDE = 2.0, 0.14, 0.42, 0.5, 0.42, 0.09, 0.15
_BAR_LABELS = 0.75
_FLIPPED = "#b2182b"
# A single pixel of a gradient can be ten times larger than all others and would blank the rest.
_SATURATION = 99
_FOOTNOTE = (
    "Red speaks for the class, blue against it. One scale per row, symmetric about zero; "
    f"the strongest {100 - _SATURATION:g} % of its pixels saturate.\n"
    "p: the model's probability of the class. Red text: another class than in the clean photo."
)


def strip(
    heatmaps: Mapping[float, Heatmaps],
    rows: pd.DataFrame,
    *,
    target: Literal["class", "rank"] = "class",
) -> Figure:
    """Draw one image: the photo and its K reference heatmaps, then a row per magnitude.

    Args:
        heatmaps: by magnitude; each holds this one image, see `Heatmaps.select`. The photo and
            the references are taken from the smallest magnitude.
        rows: the rows of this image with one model, explainer and transform.
        target: which class was explained in the transformed image: the same one, or the one of
            the same rank.

    Raises:
        ValueError: no heatmaps, or a magnitude that holds another number of images than one.
    """
    if not heatmaps or any(len(image) != 1 for image in heatmaps.values()):
        raise ValueError("a strip shows exactly one image at one magnitude or more")
    magnitudes = sorted(heatmaps)
    first = heatmaps[magnitudes[0]]
    table = rows.drop_duplicates(["magnitude", "rank"]).set_index(["magnitude", "rank"])
    table = table.sort_index()
    clean = table.loc[magnitudes[0]]
    canvas = _Canvas(len(magnitudes) + 1, len(clean))
    canvas.head(clean.iloc[0], first.image_id[0])
    canvas.photo(0, first.photo[0], "photo", _prediction(clean.iloc[0], "ref"))
    titles = [(_named(row, "ref"), False) for _, row in clean.iterrows()]
    canvas.maps(0, first.reference[0], titles)
    for line, magnitude in enumerate(magnitudes, start=1):
        image, facts = heatmaps[magnitude], table.loc[magnitude]
        what, now = f"{facts['parameter'].iloc[0]} {magnitude:g}", _prediction(facts.iloc[0], "new")
        canvas.photo(
            line, image.photo_new[0], what, now, marked=bool(facts["flipped"].eq(True).any())
        )
        titles = [_explained(row, target) for _, row in facts.iterrows()]
        canvas.maps(line, image.new[0], titles)
    return canvas.figure


def _named(row: pd.Series, when: str) -> str:
    return f"{row.name}  {shortened(row[f'label_{when}'], 27)}\np {row[f'prob_{when}']:.1%}"


def _prediction(row: pd.Series, when: str) -> str:
    return f"{shortened(row[f'label_{when}'], 20)} {row[f'prob_{when}']:.1%}"


def _explained(row: pd.Series, target: str) -> tuple[str, bool]:
    """The title of a heatmap, and whether it explains another class than its reference."""
    same = target == "class"
    label, probability = ("label_ref", "prob_ref_new") if same else ("label_new", "prob_new")
    title = f"{row.name}  {shortened(row[label], 27)}\np {row[probability]:.1%}"
    error = "" if pd.isna(row["rmse"]) else f"   rmse {row['rmse']:.2g}"
    return title + error, not same and bool(row["class_new"] != row["class_ref"])


class _Canvas:
    """A grid of square tiles with titles, measured in inches from the top left."""

    def __init__(self, lines: int, ranks: int) -> None:
        self.width = 2 * _SIDE + (ranks + 1) * (_TILE + _GAP) + _BAR + _BAR_LABELS
        self.height = _HEAD + lines * (_TILE + _TITLE) + _FOOT
        self.figure = Figure(figsize=(self.width, self.height), facecolor="white")
        # Colours of the map, with grey where a heatmap is not a number.
        self.colours = mpl.colormaps["RdBu_r"].with_extremes(bad="0.75")

    def head(self, row: pd.Series, image_id: str) -> None:
        title = f"{row['explainer']}, {row['model']}, {row['transform']}"
        for text, top, size in ((image_id, 0.2, 11), (title, 0.4, 9)):
            self.figure.text(
                _SIDE / self.width,
                1 - top / self.height,
                shortened(text, int(self.width * 10)),
                fontsize=size,
                weight="bold" if size == 11 else "normal",
                parse_math=False,
            )
        at = (_SIDE / self.width, 0.1 / self.height)
        self.figure.text(*at, _FOOTNOTE, fontsize=7.5, color="0.35", linespacing=1.4)

    def photo(
        self,
        line: int,
        pixels: UInt8[ndarray, "h w c"],
        what: str,
        prediction: str,
        *,
        marked: bool = False,
    ) -> None:
        ax = self._tile(line, 0, f"{what}\n{prediction}", marked=marked)
        shown = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., 0]
        ax.imshow(shown, cmap="gray", vmin=0, vmax=255)

    def maps(
        self, line: int, heatmaps: Float[ndarray, "k h w"], titles: list[tuple[str, bool]]
    ) -> None:
        finite = np.abs(heatmaps[np.isfinite(heatmaps)])
        limit = float(np.percentile(finite, _SATURATION)) if finite.size else 0.0
        limit = limit or float(finite.max(initial=0)) or 1.0
        for column, (heatmap, (title, marked)) in enumerate(
            zip(heatmaps, titles, strict=True), start=1
        ):
            ax = self._tile(line, column, title, marked=marked)
            drawn = ax.imshow(heatmap, cmap=self.colours, vmin=-limit, vmax=limit)
        bar = self._axes(line, len(titles) + 1, _BAR)
        self.figure.colorbar(drawn, cax=bar, ticks=[-limit, 0, limit], format="{x:.2g}")
        bar.tick_params(labelsize=7, length=2)
        bar.spines["outline"].set_linewidth(0.4)

    def _tile(self, line: int, column: int, title: str, *, marked: bool) -> Axes:
        ax = self._axes(line, column, _TILE)
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set(linewidth=0.4, color="0.6")
        colour = _FLIPPED if marked else "black"
        ax.set_title(title, fontsize=8, color=colour, loc="left", pad=3, parse_math=False)
        return ax

    def _axes(self, line: int, column: int, width: float) -> Axes:
        left = _SIDE + column * (_TILE + _GAP)
        top = _HEAD + line * (_TILE + _TITLE) + _TITLE
        bottom = self.height - top - _TILE
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, _TILE / self.height)
        )

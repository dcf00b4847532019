"""A grid of photos and heatmaps, measured in inches."""

from textwrap import wrap

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from xai_sweep.report.figures.files import shortened

# Inches. Positions are computed: an automatic layout of 60 axes takes seconds and is inexact.
_TILE, _GAP, _TITLE, _HEAD, _BAR, _SIDE = 2.0, 0.14, 0.42, 0.5, 0.09, 0.15
_FOOT_LINE, _LETTERS_PER_INCH = 0.15, 16
_BAR_LABELS = 0.75
_FLIPPED = "#b2182b"
# A single pixel of a gradient can be ten times larger than all others and would blank the rest.
_SATURATION = 99
_FOOTNOTE = (
    "Red supports the class, blue contradicts it. One scale per row, symmetric about zero; "
    f"the strongest {100 - _SATURATION:g} % of its pixels saturate.",
    "p: the model's probability of the class. Red text: another class than in the clean photo.",
)


class Canvas:
    """A grid of square tiles with titles, measured in inches from the top left."""

    def __init__(self, lines: int, ranks: int) -> None:
        self.width = 2 * _SIDE + (ranks + 1) * (_TILE + _GAP) + _BAR + _BAR_LABELS
        letters = int((self.width - 2 * _SIDE) * _LETTERS_PER_INCH)
        self.footnote = [part for line in _FOOTNOTE for part in wrap(line, letters)]
        self.foot = _FOOT_LINE * len(self.footnote) + 0.12
        self.height = _HEAD + lines * (_TILE + _TITLE) + self.foot
        self.figure = Figure(figsize=(self.width, self.height), facecolor="white")
        # Colours of the map, with grey where a heatmap is not a number.
        self.colours = mpl.colormaps["RdBu_r"].with_extremes(bad="0.75")

    def head(self, title: str, subtitle: str) -> None:
        """Two lines above the tiles, and the footnote below."""
        for text, top, size in ((title, 0.2, 11), (subtitle, 0.4, 9)):
            self.figure.text(
                _SIDE / self.width,
                1 - top / self.height,
                shortened(text, int(self.width * 10)),
                fontsize=size,
                weight="bold" if size == 11 else "normal",
                parse_math=False,
            )
        at = (_SIDE / self.width, 0.1 / self.height)
        self.figure.text(*at, "\n".join(self.footnote), fontsize=7.5, color="0.35", linespacing=1.4)

    def photo(
        self,
        line: int,
        pixels: UInt8[ndarray, "h w c"],
        what: str,
        prediction: str,
        *,
        marked: bool = False,
    ) -> None:
        """The first tile of a line."""
        ax = self._tile(line, 0, f"{what}\n{prediction}", marked=marked)
        shown = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., 0]
        ax.imshow(shown, cmap="gray", vmin=0, vmax=255)

    def maps(
        self, line: int, heatmaps: Float[ndarray, "k h w"], titles: list[tuple[str, bool]]
    ) -> None:
        """The other tiles of a line, on one scale; each title says whether it is red."""
        finite = np.abs(heatmaps[np.isfinite(heatmaps)])
        limit = float(np.percentile(finite, _SATURATION)) if finite.size else 0.0
        limit = limit or float(finite.max(initial=0)) or 1.0
        for column, (heatmap, (title, marked)) in enumerate(
            zip(heatmaps, titles, strict=True), start=1
        ):
            ax = self._tile(line, column, title, marked=marked)
            shown = ax.imshow(heatmap, cmap=self.colours, vmin=-limit, vmax=limit)
        bar = self._axes(line, len(titles) + 1, _BAR)
        self.figure.colorbar(shown, cax=bar, ticks=[-limit, 0, limit], format="{x:.2g}")
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

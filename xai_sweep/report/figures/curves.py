"""A metric against the magnitude: a panel per question, a line per rank."""

from collections.abc import Mapping
from itertools import cycle
from math import ceil

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xai_sweep.core.errors import InputError
from xai_sweep.report.figures.files import shortened
from xai_sweep.statistics.images import without_failed
from xai_sweep.statistics.summary import distinguishing

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_COLUMNS = 3
_THERE_AND_BACK = "there and back"
# They have the unit of the heatmaps, so panels of different explainers have scales of their own.
_IN_UNITS_OF_HEATMAPS = ("rmse", "euclidean")
_FROM_ZERO = (*_IN_UNITS_OF_HEATMAPS, "nrmse")
# A title shows these only where panels differ in them.
_SETTINGS = ("seed", "target", "region", "region_of", "draws", "question")


def plot_curves(
    rows: pd.DataFrame, metric: str = "rmse", units: Mapping[str, str] | None = None
) -> Figure:
    """Plot a metric against the magnitude.

    There is a panel per question, and its title shows in what questions differ. A line is the mean
    over images of one rank, its band the 95 % interval of 1,000 bootstrap resamples of the images,
    the same in every call. Draws of an image are averaged first. Control methods are grey and come
    last. With `rmse` a dashed line is the mean of `rmse_there_and_back`, if that was computed.

    Args:
        rows: as `xai_sweep.results.load` gives them.
        metric: one of the metric columns.
        units: the unit of the magnitude by question, see `xai_sweep.results.units`.

    Raises:
        InputError: no such column, or no rows.
    """
    if metric not in rows.columns:
        numbers = [str(name) for name in rows.select_dtypes("float").columns]
        raise InputError("metric", metric, f"must be one of {', '.join(numbers)}")
    if rows.empty:
        raise InputError("rows", "none", "must be at least one row")
    panels = sorted((panel for _, panel in rows.groupby("question")), key=_order)
    differing = distinguishing(rows)
    width = min(len(panels), _COLUMNS)
    height = ceil(len(panels) / width)
    figure = Figure(figsize=(4.4 * width + 1.4, 3.9 * height), layout="constrained")
    share = metric not in _IN_UNITS_OF_HEATMAPS
    axes = figure.subplots(height, width, squeeze=False, sharey=share).flat
    legend: dict[str, Artist] = {}
    for ax, panel in zip(axes, panels, strict=False):
        _plot_panel(ax, panel, metric, [name for name in _SETTINGS if name in differing])
        parameter, question = str(panel["parameter"].iloc[0]), str(panel["question"].iloc[0])
        unit = (units or {}).get(question, "")
        ax.set_xlabel(f"{parameter} [{unit}]" if unit else parameter, parse_math=False)
        handles, names = ax.get_legend_handles_labels()
        legend.update(dict(zip(names, handles, strict=True)) | legend)
        if ax.legend_ is not None:
            ax.legend_.remove()
    for ax in list(axes)[len(panels) :]:
        ax.remove()
    if legend:
        names = sorted(legend, key=_THERE_AND_BACK.__eq__)
        handles = [legend[name] for name in names]
        figure.legend(handles, names, loc="outside right upper", frameon=False, borderaxespad=1)
    return figure


def _order(panel: pd.DataFrame) -> tuple[object, ...]:
    names = ("data", "model", "transform", "parameter", "is_control", "explainer", *_SETTINGS)
    return tuple(panel.iloc[0][name] for name in names)


def _plot_panel(ax: Axes, rows: pd.DataFrame, metric: str, settings: list[str]) -> None:
    first = rows.iloc[0]
    valued = without_failed(rows)[0].dropna(subset=[metric])
    points = valued.groupby(["rank", "magnitude", "image_id"])[metric].mean().reset_index()
    images, wanted = points["image_id"].nunique(), rows["image_id"].nunique()
    if images:
        _plot_lines(ax, points, metric, images, grey=bool(first["is_control"]))
        if metric == "rmse" and "rmse_there_and_back" in rows:
            _plot_there_and_back(ax, valued)
        _scale(ax, points["magnitude"])
        if metric in _FROM_ZERO:
            ax.set_ylim(bottom=0)
    else:
        ax.text(0.5, 0.5, "no values", ha="center", va="center", transform=ax.transAxes)
    counted = f"n = {images} image{'s' if images != 1 else ''}"
    without = f" ({wanted - images} without a value)" if wanted > images else ""
    lines = [
        f"{shortened(first['explainer'], 26)}, {shortened(first['transform'], 24)}",
        f"{shortened(first['model'], 26)}, {shortened(first['data'], 24)}",
        shortened(", ".join(f"{name} {first[name]}" for name in settings), 52),
        f"{counted}{without}",
    ]
    ax.set_title("\n".join(filter(None, lines)), fontsize=10, parse_math=False)
    ax.set_ylabel(metric, parse_math=False)
    sns.despine(ax=ax)


def _plot_lines(ax: Axes, points: pd.DataFrame, metric: str, images: int, *, grey: bool) -> None:
    ranks = sorted(points["rank"].unique())
    names = [f"rank {rank}" for rank in ranks]
    palette, lightest = ("Greys_r", 0.65) if grey else ("viridis", 0.8)
    colours = mpl.colormaps[palette](np.linspace(0.08, lightest, len(ranks)))
    single = points["magnitude"].nunique() == 1
    # Beside each other, because error bars in the same place cannot be distinguished.
    beside = 0.04 * (points["rank"] - np.mean(ranks)) * single
    sns.lineplot(
        points.assign(
            magnitude=points["magnitude"] + beside,
            rank=[f"rank {rank}" for rank in points["rank"]],
        ),
        x="magnitude",
        y=metric,
        hue="rank",
        style="rank",
        palette=dict(zip(names, colours.tolist(), strict=True)),
        markers=dict(zip(names, cycle(_MARKERS), strict=False)),
        dashes=False,
        errorbar=("ci", 95) if images > 1 else None,
        err_style="bars" if single else "band",
        seed=0,
        ax=ax,
    )


def _plot_there_and_back(ax: Axes, rows: pd.DataFrame) -> None:
    by_image = rows.groupby(["magnitude", "image_id"])["rmse_there_and_back"].mean().dropna()
    means = by_image.groupby("magnitude").mean()
    if (means != 0).any():
        x, y = means.index.to_numpy(), means.to_numpy()
        if len(means) == 1:
            x, y = x + np.array([-0.3, 0.3]), y.repeat(2)
        ax.plot(x, y, color="0.5", linewidth=1, linestyle="--", label=_THERE_AND_BACK)


def _scale(ax: Axes, magnitudes: pd.Series) -> None:
    """Use a logarithmic axis where magnitudes span several decades."""
    if magnitudes.min() > 0 and magnitudes.max() / magnitudes.min() > 50:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    elif magnitudes.nunique() == 1:
        ax.set_xticks([magnitudes.iloc[0]])
        ax.set_xlim(magnitudes.iloc[0] - 0.3, magnitudes.iloc[0] + 0.3)

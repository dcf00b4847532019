"""A metric against the magnitude, a line per rank."""

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
from xai_sweep.explainers.controls import is_control
from xai_sweep.report.figures._figure import shortened, with_unit

_PANEL = ["data", "model", "explainer", "transform", "parameter"]
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_COLUMNS = 3
_FLOOR = "interpolation floor"


def curves(rows: pd.DataFrame, metric: str = "rmse") -> Figure:
    """Draw a metric against the magnitude.

    There is a panel per data set, model, explainer and transform. A line is the
    mean over images of one rank, its band the 95 % interval of 1,000 bootstrap samples of images,
    the same in every call. Several seeds of an image are averaged first. Null controls (`random`,
    `sobel`, `constant`) are grey and come last. With `rmse` a dashed line is the mean of
    `rmse_interpolation`: what turning the reference there and back alone costs.

    Args:
        rows: as `xai_sweep.results.load` gives them.
        metric: one of the metric columns.

    Raises:
        InputError: no such column, or no rows.
    """
    if metric not in rows.columns:
        numbers = [str(name) for name in rows.select_dtypes("float").columns]
        raise InputError("metric", metric, f"one of {', '.join(numbers)}")
    if rows.empty:
        raise InputError("rows", "none", "at least one row")
    panels = sorted((panel for _, panel in rows.groupby(_PANEL)), key=_order)
    width = min(len(panels), _COLUMNS)
    height = ceil(len(panels) / width)
    figure = Figure(figsize=(4.4 * width + 1.4, 3.7 * height), layout="constrained")
    axes = figure.subplots(height, width, squeeze=False, sharey=metric != "rmse").flat
    legend: dict[str, Artist] = {}
    for ax, panel in zip(axes, panels, strict=False):
        _draw(ax, panel, metric)
        handles, names = ax.get_legend_handles_labels()
        legend.update(dict(zip(names, handles, strict=True)) | legend)
        if ax.legend_ is not None:
            ax.legend_.remove()
    for ax in list(axes)[len(panels) :]:
        ax.remove()
    if legend:
        names = sorted(legend, key=_FLOOR.__eq__)
        handles = [legend[name] for name in names]
        figure.legend(handles, names, loc="outside right upper", frameon=False, borderaxespad=1)
    return figure


def _order(panel: pd.DataFrame) -> tuple[object, ...]:
    data, model, explainer, transform, parameter = panel[_PANEL].iloc[0]
    return data, model, transform, parameter, is_control(explainer), explainer


def _draw(ax: Axes, rows: pd.DataFrame, metric: str) -> None:
    data, model, explainer, transform, parameter = rows[_PANEL].iloc[0]
    valued = rows.dropna(subset=[metric])
    points = valued.groupby(["rank", "magnitude", "image_id"])[metric].mean().reset_index()
    images, asked = points["image_id"].nunique(), rows["image_id"].nunique()
    if images:
        _draw_lines(ax, points, metric, images, grey=is_control(explainer))
        if metric == "rmse":
            _draw_floor(ax, valued)
        _scale(ax, points["magnitude"])
        if metric in ("rmse", "nrmse"):
            ax.set_ylim(bottom=0)
    else:
        ax.text(0.5, 0.5, "no values", ha="center", va="center", transform=ax.transAxes)
    counted = f"n = {images} image{'s' if images != 1 else ''}"
    failed = f" ({asked - images} without a value)" if asked > images else ""
    what = f"{shortened(explainer, 26)}, {shortened(transform, 24)}"
    of = f"{shortened(model, 26)}, {shortened(data, 24)}"
    ax.set_title(f"{what}\n{of}\n{counted}{failed}", fontsize=10, parse_math=False)
    ax.set_xlabel(with_unit(parameter), parse_math=False)
    ax.set_ylabel(metric, parse_math=False)
    sns.despine(ax=ax)


def _draw_lines(ax: Axes, points: pd.DataFrame, metric: str, images: int, *, grey: bool) -> None:
    ranks = sorted(points["rank"].unique())
    names = [f"rank {rank}" for rank in ranks]
    palette, lightest = ("Greys_r", 0.65) if grey else ("viridis", 0.8)
    colours = mpl.colormaps[palette](np.linspace(0.08, lightest, len(ranks)))
    single = points["magnitude"].nunique() == 1
    # Beside each other, for error bars on one spot cannot be told apart.
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


def _draw_floor(ax: Axes, rows: pd.DataFrame) -> None:
    by_image = rows.groupby(["magnitude", "image_id"])["rmse_interpolation"].mean().dropna()
    floor = by_image.groupby("magnitude").mean()
    if (floor != 0).any():
        x, y = floor.index.to_numpy(), floor.to_numpy()
        if len(floor) == 1:
            x, y = x + np.array([-0.3, 0.3]), y.repeat(2)
        ax.plot(x, y, color="0.5", linewidth=1, linestyle="--", label=_FLOOR)


def _scale(ax: Axes, magnitudes: pd.Series) -> None:
    """Magnitudes over several decades are told apart on a logarithmic axis only."""
    if magnitudes.min() > 0 and magnitudes.max() / magnitudes.min() > 50:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    elif magnitudes.nunique() == 1:
        ax.set_xticks([magnitudes.iloc[0]])
        ax.set_xlim(magnitudes.iloc[0] - 0.3, magnitudes.iloc[0] + 0.3)

"""Reference heatmaps: one image in several settings (thesis figures 4.3, 4.4, 9.1), or several."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from xai_sweep.report.figures.canvas import Canvas
from xai_sweep.report.figures.strip import named, prediction
from xai_sweep.store.heatmaps import Heatmaps


def plot_side_by_side(shown: Mapping[str, tuple[Heatmaps, pd.DataFrame]]) -> Figure:
    """Plot one image: a line per setting, with the photo and the K reference heatmaps.

    Args:
        shown: by the setting's name, the heatmaps of this one image (see `Heatmaps.select`) and
            its rows at one magnitude.

    Raises:
        ValueError: no setting, or one that holds another number of images than one.
    """
    names = [heatmaps.image_id for heatmaps, _ in shown.values()]
    title = names[0][0] if names and names[0] else ""
    return _lines(shown, title, f"reference heatmaps in {len(shown)} settings")


def plot_representatives(
    shown: Mapping[str, tuple[Heatmaps, pd.DataFrame]], title: str, subtitle: str
) -> Figure:
    """Plot several images in one setting: a line for each, with the K reference heatmaps.

    Args:
        shown: by the text above the photo, the heatmaps of one image and its rows.
        title: first line above all.
        subtitle: second line.

    Raises:
        ValueError: no image, or an entry that holds another number of images than one.
    """
    return _lines(shown, title, subtitle)


def _lines(shown: Mapping[str, tuple[Heatmaps, pd.DataFrame]], title: str, subtitle: str) -> Figure:
    if not shown or any(len(heatmaps) != 1 for heatmaps, _ in shown.values()):
        raise ValueError("a line shows exactly one image, and there must be one line or more")
    ranks = max(rows["rank"].nunique() for _, rows in shown.values())
    canvas = Canvas(len(shown), ranks)
    canvas.head(title, subtitle)
    for line, (name, (heatmaps, rows)) in enumerate(shown.items()):
        facts = rows.drop_duplicates("rank").set_index("rank").sort_index()
        canvas.photo(line, heatmaps.photo[0], name, prediction(facts.iloc[0], "ref"))
        titles = [(named(row, "ref"), False) for _, row in facts.iterrows()]
        canvas.maps(line, heatmaps.reference[0], titles)
    return canvas.figure

"""One image's reference heatmaps in several settings: thesis figures 4.3, 4.4 and 9.1."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from xai_sweep.plots._canvas import Canvas
from xai_sweep.plots._strip import named, prediction
from xai_sweep.results import Heatmaps


def side_by_side(shown: Mapping[str, tuple[Heatmaps, pd.DataFrame]]) -> Figure:
    """Draw one image: a line per setting, with the photo and the K reference heatmaps.

    Args:
        shown: by the setting's name, the heatmaps of this one image (see `Heatmaps.select`) and
            its rows at one magnitude.

    Raises:
        ValueError: no setting, or one that holds another number of images than one.
    """
    if not shown or any(len(heatmaps) != 1 for heatmaps, _ in shown.values()):
        raise ValueError("side by side stands exactly one image in one setting or more")
    ranks = max(rows["rank"].nunique() for _, rows in shown.values())
    canvas = Canvas(len(shown), ranks)
    heatmaps, _ = next(iter(shown.values()))
    canvas.head(heatmaps.image_id[0], f"reference heatmaps in {len(shown)} settings")
    for line, (name, (heatmaps, rows)) in enumerate(shown.items()):
        facts = rows.drop_duplicates("rank").set_index("rank").sort_index()
        canvas.photo(line, heatmaps.photo[0], name, prediction(facts.iloc[0], "ref"))
        titles = [(named(row, "ref"), False) for _, row in facts.iterrows()]
        canvas.maps(line, heatmaps.reference[0], titles)
    return canvas.figure

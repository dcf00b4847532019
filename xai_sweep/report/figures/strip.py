"""The heatmaps of one image over all magnitudes: the layout of thesis figure 8.26."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from xai_sweep.report.figures.canvas import Canvas
from xai_sweep.report.figures.files import shortened
from xai_sweep.store.heatmaps import Heatmaps


def plot_strip(heatmaps: Mapping[float, Heatmaps], rows: pd.DataFrame) -> Figure:
    """Plot one image: the photo and its K reference heatmaps, then a line per magnitude.

    Args:
        heatmaps: by magnitude; each holds this one image, see `Heatmaps.select`. The photo and
            the references are taken from the smallest magnitude.
        rows: the rows of this image for one question; of several draws the first is shown.

    Raises:
        ValueError: no heatmaps, a magnitude that holds another number of images than one, or rows
            of several questions.
    """
    if not heatmaps or any(len(image) != 1 for image in heatmaps.values()):
        raise ValueError("a strip shows exactly one image at one magnitude or more")
    if rows["question"].nunique() > 1:
        raise ValueError("a strip shows exactly one question")
    rows = rows[rows["draw"] == 0]
    magnitudes = sorted(heatmaps)
    first = heatmaps[magnitudes[0]]
    table = rows.set_index(["magnitude", "rank"]).sort_index()
    clean = table.loc[magnitudes[0]]
    canvas = Canvas(len(magnitudes) + 1, len(clean))
    facts = clean.iloc[0]
    canvas.head(first.image_id[0], f"{facts['explainer']}, {facts['model']}, {facts['transform']}")
    canvas.photo(0, first.photo[0], "photo", prediction(clean.iloc[0], "ref"))
    titles = [(named(row, "ref"), False) for _, row in clean.iterrows()]
    canvas.maps(0, first.reference[0], titles)
    for line, magnitude in enumerate(magnitudes, start=1):
        image, facts = heatmaps[magnitude], table.loc[magnitude]
        what, now = f"{facts['parameter'].iloc[0]} {magnitude:g}", prediction(facts.iloc[0], "new")
        canvas.photo(
            line, image.photo_new[0], what, now, marked=bool(facts["flipped"].eq(True).any())
        )
        titles = [_explained(row) for _, row in facts.iterrows()]
        canvas.maps(line, image.new[0], titles)
    return canvas.figure


def named(row: pd.Series, when: str) -> str:
    """Rank, class and probability in two lines; `when` is ``ref`` or ``new``."""
    return f"{row.name}  {shortened(row[f'label_{when}'], 27)}\np {row[f'prob_{when}']:.1%}"


def prediction(row: pd.Series, when: str) -> str:
    """Class and probability in one line; `when` is ``ref`` or ``new``."""
    return f"{shortened(row[f'label_{when}'], 20)} {row[f'prob_{when}']:.1%}"


def _explained(row: pd.Series) -> tuple[str, bool]:
    """The title of a heatmap, and whether it explains another class than its reference."""
    explained = row["class_explained"]
    if explained == row["class_ref"]:
        what = f"{shortened(row['label_ref'], 27)}\np {row['prob_ref_new']:.1%}"
    elif explained == row["class_new"]:
        what = f"{shortened(row['label_new'], 27)}\np {row['prob_new']:.1%}"
    else:
        what = f"class {explained}\n"
    rmse = row.get("rmse")
    error = "" if pd.isna(rmse) else f"   rmse {rmse:.2g}"
    return f"{row.name}  {what}{error}", bool(explained != row["class_ref"])

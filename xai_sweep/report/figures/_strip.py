"""The heatmaps of one image over all magnitudes: the layout of thesis figure 8.26."""

from collections.abc import Mapping
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from xai_sweep.report.figures._canvas import Canvas
from xai_sweep.report.figures._figure import shortened
from xai_sweep.store.heatmaps import Heatmaps


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
        titles = [_explained(row, target) for _, row in facts.iterrows()]
        canvas.maps(line, image.new[0], titles)
    return canvas.figure


def named(row: pd.Series, when: str) -> str:
    return f"{row.name}  {shortened(row[f'label_{when}'], 27)}\np {row[f'prob_{when}']:.1%}"


def prediction(row: pd.Series, when: str) -> str:
    return f"{shortened(row[f'label_{when}'], 20)} {row[f'prob_{when}']:.1%}"


def _explained(row: pd.Series, target: str) -> tuple[str, bool]:
    """The title of a heatmap, and whether it explains another class than its reference."""
    same = target == "class"
    label, probability = ("label_ref", "prob_ref_new") if same else ("label_new", "prob_new")
    title = f"{row.name}  {shortened(row[label], 27)}\np {row[probability]:.1%}"
    error = "" if pd.isna(row["rmse"]) else f"   rmse {row['rmse']:.2g}"
    return title + error, not same and bool(row["class_new"] != row["class_ref"])

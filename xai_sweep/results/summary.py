"""Tables over rows. The image is the unit: first the mean within an image, then over images."""

from collections.abc import Collection

import pandas as pd

from xai_sweep.core.errors import InputError

_CELL = ["data", "model", "explainer", "transform", "parameter", "magnitude"]
_MEANS = ["rmse", "nrmse", "spearman"]
CLEAN = "clean"
_NEEDED = (*_CELL, "image_id", "rank", "flipped", *_MEANS, "rmse_interpolation", "error")


def needed_columns(metrics: Collection[str]) -> list[str]:
    """The columns that `summary` and `plots.curves` look at, of rows with these metrics.

    They are few, which counts where there are millions of rows.
    """
    return [name for name in _NEEDED if name not in _MEANS or name in metrics]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per data set, model, explainer, transform, parameter and magnitude, sorted.

    Returns:
        Those six columns, and `images` (how many without error), `failed` (how many with),
        `flipped` (share of images), `rmse`, `nrmse`, `spearman` (means over the ranks of an image,
        then over images; NaN skipped; NaN if the metric was not computed).
    """
    absent = {name: float("nan") for name in _MEANS if name not in rows}
    rows = rows.assign(flipped=rows["flipped"].astype("Float64"), **absent)
    good = rows[rows["error"].isna()]
    by_image = good.groupby([*_CELL, "image_id"])[["flipped", *_MEANS]].mean()
    means = by_image.groupby(_CELL).mean()
    counts = pd.DataFrame(
        {
            "images": good.groupby(_CELL)["image_id"].nunique(),
            "failed": rows[rows["error"].notna()].groupby(_CELL)["image_id"].nunique(),
        }
    )
    return counts.fillna(0).astype(int).join(means).sort_index().reset_index()


def first_predictions(rows: pd.DataFrame) -> pd.DataFrame:
    """The first class of each image and its probability, clean and at each magnitude.

    The layout of tables 8.1 and 8.2 of the thesis. Of several seeds the lowest is shown.

    Args:
        rows: rows of one data set, model and transform.

    Returns:
        Index `magnitude`: `clean`, then the magnitudes in order; a column per image; cells
        like "tabby: 43.8%", missing where the image failed.

    Raises:
        InputError: rows of several data sets, models or transforms.
    """
    for column in ("data", "model", "transform", "parameter"):
        if len(several := sorted(rows[column].unique())) > 1:
            raise InputError(column, ", ".join(several), "one of them: select its rows first")
    first = rows[rows["rank"] == 1].sort_values(["seed", "magnitude"])
    clean = first.drop_duplicates("image_id")
    table = pd.concat(
        [
            _predictions(clean, "label_ref", "prob_ref").assign(magnitude=float("-inf")),
            _predictions(first.drop_duplicates(["image_id", "magnitude"]), "label_new", "prob_new"),
        ]
    ).pivot(index="magnitude", columns="image_id", values="prediction")
    names = [CLEAN, *(f"{magnitude:g}" for magnitude in table.index[1:])]
    return table.set_axis(pd.Index(names, name="magnitude"), axis="index")


def _predictions(rows: pd.DataFrame, label: str, probability: str) -> pd.DataFrame:
    def shown(name: object, share: float) -> str | None:
        return None if pd.isna(share) else f"{name}: {share:.1%}"

    shares = zip(rows[label], rows[probability], strict=True)
    prediction = pd.Series([shown(*share) for share in shares], index=rows.index, dtype="str")
    return rows[["image_id", "magnitude"]].assign(prediction=prediction)

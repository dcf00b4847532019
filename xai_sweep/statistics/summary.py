"""Tables over rows."""

from collections.abc import Collection, Sequence

import pandas as pd

from xai_sweep.core.errors import InputError
from xai_sweep.statistics.images import POINT, image_means, numbers, without_failed
from xai_sweep.store.schema import QUESTION

CLEAN = "clean"
# Probabilities of one network for one image differ by less on different processors.
_SAME = 1e-3


def needed_columns(metrics: Collection[str]) -> list[str]:
    """The columns that `summary` and `figures.curves` need of rows with these metrics.

    They are few, which counts where there are millions of rows.
    """
    own = ("image_id", "draw", "rank", "flipped", *dict.fromkeys(metrics), "finite", "error")
    return [*POINT, *own]


def valued(metric: str) -> str:
    """The column of `summary` that says how many images have a number of a metric."""
    return f"{metric}_images"


def summary(rows: pd.DataFrame, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """One row per question and magnitude, sorted; different questions are never averaged.

    An image that has an error in one of its draws counts as failed, and is in no mean.

    Args:
        rows: as `xai_sweep.results.load` gives them, or the columns of `needed_columns`.
        metrics: which columns are averaged; by default all numbers beyond the spine.

    Returns:
        The columns of `xai_sweep.store.schema.QUESTION`, `magnitude`, `images` (how many without
        error), `failed` (how many with), `flipped` (share of images), the means of the metrics:
        over the draws of an image, over its ranks, then over images; NaN is skipped. Then, for
        each metric, how many images its mean is of: `rmse_images`; see also `without_number`.
    """
    metrics = numbers(rows) if metrics is None else metrics
    columns = ["flipped", *metrics]
    rows = rows.assign(flipped=rows["flipped"].astype("Float64"))
    good, failed = without_failed(rows)
    counts = pd.DataFrame(
        {
            "images": good.groupby(POINT)["image_id"].nunique(),
            "failed": failed.groupby(POINT)["image_id"].nunique(),
        }
    )
    by_image = image_means(good, columns)
    means = by_image.groupby(POINT).mean()
    of = by_image[[*metrics]].groupby(POINT).count().rename(columns=valued)
    found = counts.fillna(0).astype(int).join(means).join(of).reset_index()
    found[[*of]] = found[[*of]].fillna(0).astype(int)
    order = [name for name in POINT if name != "question"]
    return found.sort_values([*order, "question"], ignore_index=True)


def first_predictions(rows: pd.DataFrame) -> pd.DataFrame:
    """The first class of each image and its probability, clean and at each magnitude.

    The layout of tables 8.1 and 8.2 of the thesis. If there are several draws, the first is shown.

    Args:
        rows: rows of one data set, model, transform and seed; of any explainers.

    Returns:
        Index `magnitude`: `clean`, then the magnitudes in order; a column per image; cells
        like "tabby: 43.8%", missing where the image failed.

    Raises:
        InputError: rows of several data sets, models, transforms or seeds, or different
            predictions for one image, as by other weights.
    """
    for column in ("data", "model", "transform", "parameter", "seed"):
        if len(several := sorted(rows[column].unique())) > 1:
            values = ", ".join(map(str, several))
            raise InputError(column, values, "must be one of them: select its rows first")
    first = rows[(rows["rank"] == 1) & (rows["draw"] == 0)].sort_values("magnitude")
    _check_same_predictions(first)
    clean = first.drop_duplicates("image_id")
    table = pd.concat(
        [
            _predictions(clean, "label_ref", "prob_ref").assign(magnitude=float("-inf")),
            _predictions(first.drop_duplicates(["image_id", "magnitude"]), "label_new", "prob_new"),
        ]
    ).pivot(index="magnitude", columns="image_id", values="prediction")
    names = [CLEAN, *(f"{magnitude:g}" for magnitude in table.index[1:])]
    return table.set_axis(pd.Index(names, name="magnitude"), axis="index")


def _check_same_predictions(first: pd.DataFrame) -> None:
    for keys, probability in (
        (["image_id"], "prob_ref"),
        (["image_id", "magnitude"], "prob_new"),
    ):
        by_image = first.groupby(keys)[probability]
        if ((by_image.max() - by_image.min()) > _SAME).any():
            questions = ", ".join(sorted(first["question"].unique()))
            allowed = "must be questions about the same network: select the rows of one first"
            raise InputError("question", questions, allowed)


def _predictions(rows: pd.DataFrame, label: str, probability: str) -> pd.DataFrame:
    def shown(name: object, share: float) -> str | None:
        return None if pd.isna(share) else f"{name}: {share:.1%}"

    shares = zip(rows[label], rows[probability], strict=True)
    prediction = pd.Series([shown(*share) for share in shares], index=rows.index, dtype="str")
    return rows[["image_id", "magnitude"]].assign(prediction=prediction)


def distinguishing(lines: pd.DataFrame, names: Sequence[str] = QUESTION) -> list[str]:
    """The columns of the question in which lines differ.

    The question itself, a hash, is among them only where nothing else tells two questions apart:
    they have other weights, or other numbers of ranks.

    Args:
        lines: rows with the columns of the question, for example of `summary`.
        names: the columns to choose from.
    """
    each = lines[[*QUESTION]].drop_duplicates()
    shown = [name for name in names if name != "question" and each[name].nunique() > 1]
    alike = each.duplicated(shown) if shown else pd.Series([False] * min(1, len(each)))
    if "question" in names and (alike.any() if shown else len(each) > 1):
        shown.append("question")
    return shown

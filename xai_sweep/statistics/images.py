"""The image is the unit: what is averaged within an image before anything else, and what failed."""

from collections.abc import Sequence

import pandas as pd

from xai_sweep.store.schema import FIXED, QUESTION

# A curve, and the point on it.
POINT = [*QUESTION, "magnitude"]
_IMAGE = ["question", "magnitude", "image_id"]


def without_failed(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of images that have no error at a magnitude, in any draw; and the other rows."""
    failed = rows["error"].notna()
    if failed.any():
        bad = pd.MultiIndex.from_frame(rows.loc[failed, _IMAGE].drop_duplicates())
        failed = pd.Series(pd.MultiIndex.from_frame(rows[_IMAGE]).isin(bad), index=rows.index)
    return rows[~failed], rows[failed]


def numbers(rows: pd.DataFrame) -> list[str]:
    """The columns of numbers beyond the spine."""
    names = rows.select_dtypes("number").columns
    return [str(name) for name in names if name not in FIXED]


def image_means(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The mean of each column per image: over the draws of a rank first, then over the ranks.

    Args:
        rows: rows with all of `xai_sweep.store.schema.QUESTION`.
        columns: columns of numbers; NaN is skipped.

    Returns:
        The columns, by question (all of its columns), magnitude and image.
    """
    keys = [*POINT, "image_id"]
    if (rows["draws"] > 1).any():
        by_rank = rows.groupby([*keys, "rank"], sort=False)[list(columns)].mean()
        return by_rank.groupby(keys, sort=False).mean()
    return rows.groupby(keys, sort=False)[list(columns)].mean()

"""Numbers that are not there are counted; the means say how many images they are of."""

import math

import pandas as pd
import pytest
from stored import COLUMNS

from xai_sweep.report.content import missing_lines, summary_table
from xai_sweep.results import summary, without_number
from xai_sweep.store.schema import table

NAN = math.nan
NULLS = {"rmse": "no valid pixel", "spearman": "a heatmap is constant"}


@pytest.fixture
def rows(make_rows) -> pd.DataFrame:
    """Five images of two ranks: whole, broken, constant, constant at one rank, failed."""
    found = make_rows(["a", "b", "c", "d", "e"], failed=["e"])
    whole, broken, constant, partly = (found[start : start + 2] for start in (0, 2, 4, 6))
    for row in broken:
        row |= {"rmse": NAN, "nrmse": NAN, "spearman": NAN, "finite": False}
    for row in (*constant, partly[0]):
        row |= {"spearman": NAN}
    assert all(math.isfinite(row["spearman"]) for row in whole)
    return table(found, COLUMNS).to_pandas()


def test_images_are_counted_by_metric_and_reason(rows: pd.DataFrame) -> None:
    found = without_number(rows).set_index("metric")
    counts = found[["images", "missing", "not_finite", "partly"]]
    assert counts.loc["rmse"].tolist() == [4, 1, 1, 0]
    assert counts.loc["spearman"].tolist() == [4, 2, 1, 1]
    assert without_number(rows, ["rmse"])["metric"].tolist() == ["rmse"]
    assert without_number(rows[rows["image_id"] == "a"]).empty
    assert without_number(rows[rows["image_id"] == "e"]).empty


def test_a_mean_says_of_how_many_images_it_is(rows: pd.DataFrame) -> None:
    (line,) = summary(rows).to_dict("records")
    assert (line["images"], line["failed"]) == (4, 1)
    assert (line["rmse_images"], line["spearman_images"]) == (3, 2)
    good = rows[~rows["image_id"].isin(["b", "c", "e"])]
    assert line["spearman"] == good.groupby("image_id")["spearman"].mean().mean()
    (shown,) = summary_table(rows).lines
    assert shown[-1].endswith(" (n=2)")
    (whole,) = summary_table(rows[rows["image_id"] == "a"]).lines
    assert "n=" not in "".join(whole)


def test_what_stands_below_the_table(rows: pd.DataFrame) -> None:
    assert missing_lines(rows, NULLS) == [
        "rmse, nrmse: NaN for 1 of 4 images, which are in no mean "
        "(NaN or infinity in a heatmap: 1)",
        "spearman: NaN for 2 of 4 images, which are in no mean (NaN or infinity in a heatmap: 1, "
        "a heatmap is constant: 1), and for some ranks or draws of 1 of 4 images",
    ]
    assert missing_lines(rows[rows["image_id"] == "a"], NULLS) == []

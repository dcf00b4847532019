import pandas as pd
import pytest

from xai_sweep.statistics.instability import split
from xai_sweep.store.schema import table


def _frame(rows):
    return table(rows).to_pandas()


def test_the_parts_by_hand_and_the_image_is_the_unit(make_rows):
    own = make_rows(["cat", "coffee", "page"], failed=["page"], rmse=5.0, rmse_sampling=3.0)
    moved = make_rows(["cat", "coffee", "page"], rmse=4.0, rmse_sampling=1.0)
    own[0]["rmse"] = 7.0
    found = split(_frame(own), _frame(moved))
    assert list(found.columns) == [
        *("data", "model", "transform", "parameter", "magnitude"),
        *("images", "squared", "sampling", "segmentation", "rest"),
    ]
    # cat: (49 + 25) / 2 = 37, coffee: 25; sampling (9 + 1) / 2 = 5; moved 16.
    (row,) = found.to_dict("records")
    assert row["images"] == 2
    assert row["squared"] == 31
    assert row["sampling"] == 5
    assert row["segmentation"] == 15
    assert row["rest"] == 11
    assert row["sampling"] + row["segmentation"] + row["rest"] == row["squared"]


def test_a_row_per_magnitude(make_rows):
    own = [*make_rows(["cat"], magnitude=10.0, rmse=2.0), *make_rows(["cat"], magnitude=5.0)]
    moved = [*make_rows(["cat"], magnitude=10.0, rmse=1.0), *make_rows(["cat"], magnitude=5.0)]
    found = split(_frame(own), _frame(moved))
    assert found["magnitude"].tolist() == [5.0, 10.0]
    assert found["segmentation"].tolist() == pytest.approx([0.0, 3.0])
    assert isinstance(found, pd.DataFrame)

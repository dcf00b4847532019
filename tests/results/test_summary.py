import pandas as pd
import pytest

from xai_sweep.core.errors import InputError
from xai_sweep.results import first_predictions, summary
from xai_sweep.store.schema import table


def _frame(rows):
    return table(rows).to_pandas()


def test_the_image_is_the_unit(make_rows):
    rows = make_rows(["cat", "coffee", "page"], failed=["page"])
    cat1, cat2, coffee1, coffee2, *_ = rows
    cat1 |= {"rmse": 1.0, "flipped": True, "spearman": float("nan")}
    cat2 |= {"rmse": 3.0, "flipped": True, "spearman": 0.5}
    coffee1 |= {"rmse": 4.0, "flipped": False, "spearman": 0.25}
    coffee2 |= {"rmse": float("nan"), "flipped": False, "spearman": 0.75}
    result = summary(_frame(rows))
    assert list(result.columns) == [
        *("data", "model", "explainer", "transform", "parameter", "magnitude"),
        *("images", "failed", "flipped", "rmse", "nrmse", "spearman"),
    ]
    # rmse: ((1 + 3) / 2 + 4) / 2 = 3, not (1 + 3 + 4) / 3; spearman: (0.5 + 0.5) / 2
    expected = [
        "photos-0c0ffee0",
        "vgg16",
        "saliency",
        "rotation",
        "angle",
        10.0,
        2,
        1,
        0.5,
        3.0,
        2.0,
        0.5,
    ]
    assert result.iloc[0].tolist() == expected


def test_rows_are_sorted_and_all_failed_is_counted(make_rows):
    rows = [
        *make_rows(["cat"], magnitude=10.0),
        *make_rows(["cat", "moon"], failed=["cat", "moon"], magnitude=5.0),
        *make_rows(["cat"], model="alexnet", magnitude=20.0),
    ]
    result = summary(_frame(rows))
    assert result["model"].tolist() == ["alexnet", "vgg16", "vgg16"]
    assert result["magnitude"].tolist() == [20.0, 5.0, 10.0]
    assert result["images"].tolist() == [1, 0, 1]
    assert result["failed"].tolist() == [0, 2, 0]
    assert result["rmse"].isna().tolist() == [False, True, False]


def test_an_image_of_two_seeds_counts_once(make_rows):
    rows = _frame(make_rows(["cat"]) + make_rows(["cat"], seed=1, rmse=2.25))
    assert summary(rows)[["images", "rmse"]].to_numpy().tolist() == [[1, 1.5]]


def test_a_metric_that_was_not_computed_is_nan(make_rows):
    result = summary(_frame(make_rows(["cat"])).drop(columns="nrmse"))
    assert result["nrmse"].isna().all()
    with pytest.raises(KeyError, match="error"):
        summary(_frame(make_rows(["cat"])).drop(columns="error"))


def test_first_predictions_are_the_tables_of_the_thesis(make_rows):
    rows = [
        *make_rows(["moon", "cat", "page"], failed=["page"], magnitude=10.0),
        *make_rows(["moon", "cat"], magnitude=0.5, label_new="tabby", prob_new=0.0004),
        *make_rows(["cat"], magnitude=10.0, explainer="grad_cam"),
    ]
    result = first_predictions(_frame(rows))
    assert result.index.name == "magnitude"
    assert result.index.tolist() == ["clean", "0.5", "10"]
    assert result.columns.tolist() == ["cat", "moon", "page"]
    assert result["cat"].tolist() == ["tabby: 43.8%", "tabby: 0.0%", "lynx: 25.0%"]
    assert result["page"].isna().all()


def test_first_predictions_are_of_one_model_and_one_transform(make_rows):
    rows = _frame(make_rows(["cat"]) + make_rows(["cat"], model="alexnet"))
    with pytest.raises(InputError, match=r"^model=alexnet, vgg16: one of them"):
        first_predictions(rows)
    assert isinstance(first_predictions(rows[rows["model"] == "vgg16"]), pd.DataFrame)

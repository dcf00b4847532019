"""Tables over rows: the image is the unit, and different questions are never averaged."""

import pandas as pd
import pytest
from stored import COLUMNS

from xai_sweep.core.errors import InputError
from xai_sweep.results import first_predictions, load, summary
from xai_sweep.statistics.summary import distinguishing
from xai_sweep.store.schema import QUESTION, table
from xai_sweep.store.store import Store


def _frame(rows):
    return table(rows, COLUMNS).to_pandas()


def test_the_image_is_the_unit(make_rows):
    rows = make_rows(["cat", "coffee", "page"], failed=["page"])
    cat1, cat2, coffee1, coffee2, *_ = rows
    cat1 |= {"rmse": 1.0, "flipped": True, "spearman": float("nan")}
    cat2 |= {"rmse": 3.0, "flipped": True, "spearman": 0.5}
    coffee1 |= {"rmse": 4.0, "flipped": False, "spearman": 0.25}
    coffee2 |= {"rmse": float("nan"), "flipped": False, "spearman": 0.75}
    result = summary(_frame(rows))
    means = ["rmse", "nrmse", "spearman"]
    counts = [f"{name}_images" for name in means]
    first = [*QUESTION, "magnitude", "images", "failed", "flipped"]
    assert list(result.columns) == [*first, *means, *counts]
    (line,) = result.to_dict("records")
    assert {name: line[name] for name in ("model", "explainer", "region", "magnitude")} == {
        **{"model": "vgg16", "explainer": "saliency", "region": "mask", "magnitude": 10.0}
    }
    # rmse: ((1 + 3) / 2 + 4) / 2 = 3, not (1 + 3 + 4) / 3; spearman: (0.5 + 0.5) / 2
    assert [line[name] for name in ("images", "failed", "flipped", *means)] == [
        *(2, 1, 0.5, 3.0, 2.0, 0.5)
    ]


def test_rows_are_sorted_and_all_failed_is_counted(make_rows):
    rows = [
        *make_rows(["cat"], magnitude=10.0),
        *make_rows(["cat", "moon"], failed=["cat", "moon"], magnitude=5.0),
        *make_rows(["cat"], model="alexnet", question="another", magnitude=20.0),
    ]
    result = summary(_frame(rows))
    assert result["model"].tolist() == ["alexnet", "vgg16", "vgg16"]
    assert result["magnitude"].tolist() == [20.0, 5.0, 10.0]
    assert result["images"].tolist() == [1, 0, 1]
    assert result["failed"].tolist() == [0, 2, 0]
    assert result["rmse"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("column", "other"),
    [("region", "none"), ("region_of", "5,10"), ("target", "rank"), ("seed", 1), ("draws", 2)],
)
def test_questions_in_one_folder_are_two_lines(tmp_path, make_table, column, other):
    for name, question, change, rmse in (
        ("a", "first", {}, 0.0275),
        ("b", "second", {column: other}, 0.0439),
    ):
        cell = Store(tmp_path).cell(name)
        cell.begin()
        cell.write(make_table(["cat"], question=question, rmse=rmse, **change))
        cell.finish({})
    result = summary(load(tmp_path))
    found = dict(zip(result["question"], result["rmse"], strict=True))
    assert found == pytest.approx({"first": 0.0275, "second": 0.0439})
    assert distinguishing(result) == [column]


def test_draws_are_averaged_within_a_rank_first(make_rows):
    # Rank 1: (1 + 3) / 2 = 2, rank 2: 5 alone; the image (2 + 5) / 2, and not (1 + 3 + 5) / 3.
    rows = []
    for draw, values in enumerate([(1.0, 5.0), (3.0, float("nan"))]):
        first, second = make_rows(["cat"], draws=2, draw=draw)
        rows += [first | {"rmse": values[0]}, second | {"rmse": values[1]}]
    rows += [
        row | {"rmse": 4.5} for draw in (0, 1) for row in make_rows(["moon"], draws=2, draw=draw)
    ]
    (line,) = summary(_frame(rows)).to_dict("records")
    assert (line["images"], line["rmse"]) == (2, (3.5 + 4.5) / 2)


def test_an_image_with_a_failed_draw_is_failed_and_in_no_mean(make_rows):
    rows = [
        *make_rows(["cat"], draws=2, draw=0, rmse=100.0),
        *make_rows(["cat"], failed=["cat"], draws=2, draw=1),
        *make_rows(["moon"], draws=2, draw=0, rmse=1.0),
        *make_rows(["moon"], draws=2, draw=1, rmse=3.0),
    ]
    (line,) = summary(_frame(rows)).to_dict("records")
    assert (line["images"], line["failed"], line["rmse"]) == (1, 1, 2.0)


def test_only_the_metrics_that_are_there(make_rows):
    rows = _frame(make_rows(["cat"])).drop(columns="nrmse")
    found = [*summary(rows).columns]
    assert found[-5:] == ["flipped", "rmse", "spearman", "rmse_images", "spearman_images"]
    found = [*summary(rows, ["spearman"]).columns]
    assert found[-3:] == ["flipped", "spearman", "spearman_images"]


def test_a_question_is_named_only_where_nothing_else_tells_it_apart(make_rows):
    lines = pd.DataFrame(make_rows(["cat"]))
    assert distinguishing(lines) == []
    other = lines.assign(question="other weights")
    assert distinguishing(pd.concat([lines, other])) == ["question"]
    assert distinguishing(pd.concat([lines, other.assign(seed=1)])) == ["seed"]
    third = lines.assign(question="third", seed=1)
    assert distinguishing(pd.concat([lines, other.assign(seed=1), third])) == ["seed", "question"]


def test_first_predictions_are_the_tables_of_the_thesis(make_rows):
    rows = [
        *make_rows(["moon", "cat", "page"], failed=["page"], magnitude=10.0),
        *make_rows(["moon", "cat"], magnitude=0.5, label_new="tabby", prob_new=0.0004),
        *make_rows(["cat"], magnitude=10.0, explainer="grad_cam", question="another"),
        *make_rows(["cat"], magnitude=10.0, question="drawn", draws=2),
        *make_rows(["cat"], magnitude=10.0, question="drawn", draws=2, draw=1, prob_new=0.9),
    ]
    result = first_predictions(_frame(rows))
    assert result.index.name == "magnitude"
    assert result.index.tolist() == ["clean", "0.5", "10"]
    assert result.columns.tolist() == ["cat", "moon", "page"]
    assert result["cat"].tolist() == ["tabby: 43.8%", "tabby: 0.0%", "lynx: 25.0%"]
    assert result["page"].isna().all()


@pytest.mark.parametrize(
    ("column", "other", "values"), [("model", "alexnet", "alexnet, vgg16"), ("seed", 1, "0, 1")]
)
def test_first_predictions_are_of_one_model_and_one_seed(make_rows, column, other, values):
    rows = _frame(make_rows(["cat"]) + make_rows(["cat"], question="b", **{column: other}))
    with pytest.raises(InputError) as caught:
        first_predictions(rows)
    assert str(caught.value) == f"{column}={values}: must be one of them: select its rows first"
    assert isinstance(first_predictions(rows[rows[column] == other]), pd.DataFrame)


@pytest.mark.parametrize("probability", ["prob_ref", "prob_new"])
def test_predictions_of_other_weights_are_not_mixed(make_rows, probability):
    rows = _frame(make_rows(["cat"]) + make_rows(["cat"], question="b", **{probability: 0.01}))
    with pytest.raises(InputError, match=r"^question=a question, b: must be questions about the"):
        first_predictions(rows)

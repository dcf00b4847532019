"""What the tables of a report say."""

from pathlib import Path

import pandas as pd
import pytest
from oracles.rows import made_rows

from xai_sweep.core.errors import SomeFailedError
from xai_sweep.report import terminal
from xai_sweep.report.content import (
    TableContent,
    failed_images,
    failures_error,
    failures_table,
    instability_table,
    outcome_lines,
    summary_table,
)
from xai_sweep.store.failures import Failed


def names(content: TableContent) -> list[str]:
    return [heading.name for heading in content.headings]


NUMBERS = ["magnitude", "images", "failed", "flipped", "rmse", "nrmse", "spearman"]


def test_what_is_the_same_everywhere_is_the_title() -> None:
    rows = made_rows(images=1, magnitudes=[1, 5], ranks=1, flipped=[5])
    content = summary_table(rows.assign(nrmse=0.25, spearman=float("nan")))
    assert content.title == "photos · net · grad_cam · rotation"
    assert names(content) == NUMBERS
    assert content.lines == (
        ("angle 1", "1", "0", "0%", "0.1", "0.25", "-"),
        ("angle 5", "1", "0", "100%", "0.5", "0.25", "-"),
    )


def test_two_questions_are_two_lines_and_what_differs_is_a_column() -> None:
    rows = pd.concat(
        [
            made_rows(images=1, magnitudes=[5], ranks=1).assign(rmse=0.0275),
            made_rows(images=1, magnitudes=[5], ranks=1, region="none").assign(rmse=0.0439),
        ]
    )
    content = summary_table(rows)
    assert names(content) == ["region", *NUMBERS]
    assert [line[0] for line in content.lines] == ["mask", "none"]
    assert [line[names(content).index("rmse")] for line in content.lines] == ["0.0275", "0.0439"]


def test_other_weights_are_told_apart_by_the_question() -> None:
    rows = made_rows(images=1, magnitudes=[5], ranks=1)
    content = summary_table(pd.concat([rows, rows.assign(question="other weights")]))
    assert names(content) == ["question", *NUMBERS]
    assert [line[0] for line in content.lines] == ["grad_cam-mask", "other weights"]


def test_controls_are_not_a_column_of_their_own() -> None:
    rows = pd.concat([made_rows(images=1, explainer=name) for name in ("random", "grad_cam")])
    assert names(summary_table(rows)) == ["explainer", *NUMBERS]


def test_a_table_shows_the_metrics_that_were_chosen() -> None:
    rows = made_rows(images=1, magnitudes=[5], ranks=1)
    usual = ["rmse", "nrmse", "cosine", "pearson", "spearman", "ssim", "topk_iou"]
    rows = rows.drop(columns=[*usual, "rmse_there_and_back"]).assign(deletion=0.5)
    content = summary_table(rows)
    assert names(content)[4:] == ["deletion"]
    assert content.lines[0][4] == "0.5"


def test_parts_are_shares() -> None:
    parts = pd.DataFrame(
        {
            **{"model": ["net"], "transform": ["rotation"], "parameter": ["angle"], "seed": [0]},
            **{"target": ["class"], "region": ["mask"], "region_of": ["own"], "magnitude": [5.0]},
            **{"images": [3], "squared": [0.5], "sampling": [0.1], "segmentation": [0.45]},
            "rest": [-0.05],
        }
    )
    content = instability_table(parts)
    assert content.lines == (("net", "rotation", "angle 5", "3", "0.5", "20%", "90%", "-10%"),)
    nothing = instability_table(parts.assign(squared=0.0))
    assert nothing.lines[0][-3:] == ("-", "-", "-")
    two = pd.concat([parts, parts.assign(region="none")])
    assert names(instability_table(two))[2] == "region"


def failed(what: str, error: str = "no layer", **changed: object) -> Failed:
    return Failed(what, error, **{"is_input": True, "overrides": (("a=1",),), **changed})  # type: ignore[arg-type]


def test_what_failed_for_the_same_reason_is_one_line() -> None:
    content = failures_table([*(failed(f"job {n}") for n in range(7)), failed("x", "no space")])
    assert content.lines == (
        ("job 0\njob 1\njob 2\njob 3\njob 4\nand 2 more", "no layer"),
        ("x", "no space"),
    )


@pytest.mark.parametrize(
    ("failures", "stopped", "message", "code"),
    [
        (
            [failed("a")],
            False,
            "1 failed, all the rest is complete; why: my results/_failures; to compute them again: "
            "xai-sweep retry 'my results'",
            2,
        ),
        (
            [failed("a"), failed("b", is_input=False)],
            True,
            "2 failed, the sweep stopped; why: my results/_failures; to compute them again: "
            "xai-sweep retry 'my results'",
            1,
        ),
        (
            [failed("a", overrides=(), is_input=False)],
            False,
            "1 failed; the same command again computes what is missing",
            1,
        ),
    ],
)
def test_what_to_do_about_failures(
    failures: list[Failed], stopped: bool, message: str, code: int
) -> None:
    error = failures_error(failures, Path("my results"), stopped=stopped)
    assert (str(error), error.code) == (message, code)


def test_where_things_are() -> None:
    assert outcome_lines(3, 1, {"rows": "here", "pictures": None}) == [
        "cells     1 computed, 2 were finished before",
        "rows      here",
    ]
    assert outcome_lines(2, 2, {}) == ["cells     2 computed"]


def test_the_first_image_that_failed_is_named() -> None:
    rows = made_rows(images=3, magnitudes=[5], ranks=2)
    assert failed_images(rows) is None
    names = sorted(set(rows["image_id"]))
    one = rows.assign(error=["broken" if name == names[1] else None for name in rows["image_id"]])
    assert failed_images(one) == f"1 image: {names[1]}: broken"
    assert failed_images(rows.assign(error="broken")) == f"3 images; the first: {names[0]}: broken"


def test_numbers_are_never_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    rows = pd.concat(
        [made_rows(images=1, magnitudes=[5], ranks=1, explainer="x" * 60), made_rows(images=1)]
    )
    terminal.print_summary(rows.assign(rmse=7.271e-12, nrmse=0.1234, spearman=-0.5678), {})
    printed = capsys.readouterr().out
    for number in ("7.271e-12", "0.1234", "-0.5678", "angle 5"):
        assert number in printed
    assert "…" not in printed


def test_failures_are_printed_and_raised(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SomeFailedError, match="1 failed, all the rest is complete"):
        terminal.raise_failures([failed("[a] job")], Path("results"), stopped=False)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "[a] job" in printed.err  # and not taken for markup

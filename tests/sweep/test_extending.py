"""Metrics are no part of a cell: another one is added to cells that are complete."""

import json
from pathlib import Path

import pytest
from harness import call, read, tiny
from pandas.testing import assert_frame_equal

from xai_sweep.config.cells import Cell


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    words = tiny(tmp_path_factory.mktemp("tiny"))
    return (*words, "explainer=grad_cam", "transform.angle=[1,5]")


def metrics(results: Path) -> list[list[str]]:
    manifests = [json.loads(path.read_text()) for path in results.glob("cells/*/_manifest.json")]
    return [sorted(manifest["metrics"]) for manifest in manifests]


def test_another_metric_is_a_column_of_the_same_cells(
    small: tuple[str, ...], tmp_path: Path, computed: list[Cell]
) -> None:
    assert call(tmp_path, *small, "metric=[rmse,ssim]") == 0
    before = read(tmp_path)
    assert call(tmp_path, *small, "metric=[cosine]") == 0
    after = read(tmp_path)
    assert [cell.magnitude for cell in computed] == [1, 5, 1, 5]
    assert len(list((tmp_path / "cells").iterdir())) == 2
    assert metrics(tmp_path) == [["cosine", "rmse", "ssim"]] * 2
    assert after["cosine"].notna().all()
    same = [name for name in before.columns if name not in ("sweep", "cosine")]
    assert_frame_equal(after[same], before[same], check_exact=True)


def test_what_a_cell_has_is_not_computed_again(
    small: tuple[str, ...], tmp_path: Path, computed: list[Cell]
) -> None:
    assert call(tmp_path, *small, "metric=[rmse,ssim]") == 0
    computed.clear()
    assert call(tmp_path, *small, "metric=[ssim]") == 0
    assert computed == []
    assert call(tmp_path, "-m", *small, "metric=[rmse],[ssim]") == 0
    assert computed == []


def test_new_cells_have_what_is_wanted_and_old_ones_keep_what_they_have(
    small: tuple[str, ...], tmp_path: Path
) -> None:
    assert call(tmp_path, *small, "metric=[rmse,ssim]", "transform.angle=1") == 0
    assert call(tmp_path, *small, "metric=[rmse,cosine]") == 0
    assert sorted(metrics(tmp_path)) == [["cosine", "rmse"], ["cosine", "rmse", "ssim"]]


def test_a_metric_with_other_parameters_is_refused_in_one_line(
    small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, *small, "metric=[topk_iou]") == 0
    before = read(tmp_path)
    capsys.readouterr()
    assert call(tmp_path, *small, "metric=[topk_iou]", "metric.topk_iou.share=0.1") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: metric.topk_iou.share=0.1: ")
    assert "holds topk_iou computed with share=0.05" in line
    assert_frame_equal(read(tmp_path), before)


def test_two_points_of_a_curve_cannot_have_a_metric_with_different_parameters(
    small: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = "metric.topk_iou.share=0.05,0.1"
    assert call(tmp_path, "-m", *small, "metric=[topk_iou]", shares) == 2
    assert (
        "error: metric.topk_iou.share=0.1: another point of the same curve has 0.05"
        in capsys.readouterr().err
    )
    assert len(metrics(tmp_path)) == 2

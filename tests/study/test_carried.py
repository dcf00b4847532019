"""Superpixels of the clean image move with the transform, or are found anew."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
import torch
from harness import call, read, rows
from networks import network
from PIL import Image
from torch import Tensor

from xai_sweep.core.columns import Column
from xai_sweep.data import Batch, ImageFile
from xai_sweep.explainers.base import Explained, Explainer
from xai_sweep.metrics import RMSE
from xai_sweep.models import Classifier
from xai_sweep.report.terminal import print_instability
from xai_sweep.statistics.instability import instabilities
from xai_sweep.study.probe import Probe
from xai_sweep.study.question import Change, Question
from xai_sweep.study.subject import Subject
from xai_sweep.transforms import GaussianNoise, Rotation, Transform

SMALL = (
    "explainer=lime",
    "explainer.num_samples=20",
    "explainer.segmentation=slic",
    "explainer.options={n_segments: 6}",
    "explainer.precision=bfloat16",
    "logger=none",
    "keep_heatmaps=none",
    "pictures=false",
    "data.limit=2",
    "ranks=2",
)


@dataclass(frozen=True, eq=False)
class Halves(Explainer):
    """Planted: an image's superpixels are its left and right half; remembers what it is given."""

    keeps: bool
    given: list[Tensor | None] = field(default_factory=list)

    facts: ClassVar[tuple[Column, ...]] = (Column("num_samples", "Seven.", kind="int32"),)
    source: ClassVar[str] = "this file"

    def explain(
        self,
        classifier: Classifier,
        images: Tensor,
        targets: Tensor,
        seeds: Tensor | None = None,
        carried: Tensor | None = None,
    ) -> Explained:
        self.given.append(carried)
        maps = images[:, :1].expand(-1, targets.shape[1], -1, -1)
        right = (torch.arange(images.shape[-1]) >= images.shape[-1] // 2).long()
        halves = right.expand(images[:, 0].shape) if self.keeps else None
        return Explained(maps, {"num_samples": torch.full_like(targets, 7)}, halves)


def probed(explainer: Halves, transform: Transform, *magnitudes: float) -> Sequence[object]:
    probe = Probe(
        Subject(Classifier(network("plain")), explainer),
        [Change(transform, magnitudes, Question(ranks=2))],
        {"rmse": RMSE()},
    )
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    files = tuple(ImageFile(name, Path(name)) for name in ("a", "b"))
    found = probe.predict_step(Batch(files=files, images=images, failed=()))
    return [row["num_samples"] for comparison in found for row in comparison.rows]


def test_segments_turn_with_the_image() -> None:
    explainer = Halves(keeps=True)
    assert probed(explainer, Rotation(), 0.0, 90.0) == [7] * 8
    clean, given = explainer.given
    assert clean is None
    assert given is not None
    left_right, down_up = given[0], given[1]
    assert torch.equal(left_right, (torch.arange(16) >= 8).long().expand(16, 16))
    assert torch.equal(down_up, left_right.rot90(1, (-2, -1)))


def test_segments_stay_where_pixels_stay_and_are_not_given_where_not_kept() -> None:
    explainer = Halves(keeps=True)
    probed(explainer, GaussianNoise(), 1.0)
    clean, given = explainer.given
    assert clean is None
    assert given is not None
    assert torch.equal(given[0], (torch.arange(16) >= 8).long().expand(16, 16))
    explainer = Halves(keeps=False)
    probed(explainer, Rotation(), 5.0)
    assert explainer.given == [None, None]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both kinds of superpixels, masks drawn independently, in one results folder."""
    results = tmp_path_factory.mktemp("both")
    words = (*SMALL, "explainer.masks=independent", "transform.angle=[0,6]")
    assert call(results, "-m", *words, "explainer.superpixels=own,moved") == 0
    return results


def test_rows_say_how_good_the_surrogate_is(both: Path) -> None:
    found = read(both)
    assert len(found) == 2 * 2 * 2 * 2
    assert found["error"].isna().all()
    assert (found["num_samples"] == 20).all()
    assert found["surrogate_r2"].between(0.05, 1).all()
    assert (found["coefficient_stderr"] > 0).all()
    assert (found["rmse_second_draw"] > 0).all()
    turned = found[found["magnitude"] == 6]
    own = turned["explainer"].str.contains("moved")
    assert (turned[own]["rmse"].to_numpy() != turned[~own]["rmse"].to_numpy()).all()
    # Nothing moved: the same superpixels, the same image, the same masks.
    still = found[found["magnitude"] == 0]
    assert (still["rmse"] == 0).all()


def test_the_report_shows_where_the_instability_comes_from(
    both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = instabilities(both)
    assert parts["magnitude"].tolist() == [0, 6]
    assert (parts["images"] == 2).all()
    sums = parts["sampling"] + parts["segmentation"] + parts["rest"]
    assert sums.tolist() == pytest.approx(parts["squared"].tolist())
    assert parts["squared"].tolist()[0] == 0
    print_instability(parts)
    assert "segmentation" in capsys.readouterr().out
    print_instability(parts[:0])
    assert capsys.readouterr().out == ""


def test_other_methods_have_no_surrogate(tmp_path: Path) -> None:
    found = rows(tmp_path, *SMALL[5:], "explainer=grad_cam", "transform.angle=5")
    columns = ["surrogate_r2", "num_samples", "coefficient_stderr"]
    assert not set(columns) & set(found.columns)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["explainer.num_samples=3"], "explainer.num_samples=3: must be more than the"),
        (
            ["explainer.options={n_segments: 1}"],
            "explainer.segmentation=slic: found a single superpixel, and LIME needs at least",
        ),
        (
            ["data=folder", "data.root=GREY"],
            "an image of one colour: hiding its superpixels cha",
        ),
    ],
    ids=["few samples", "one superpixel", "one colour"],
)
def test_an_image_that_lime_cannot_explain_is_a_row_that_says_why(
    given: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = tmp_path / "grey"
    grey.mkdir()
    Image.new("RGB", (240, 240), (90, 120, 60)).save(grey / "grey.png")
    words = [word.replace("GREY", str(grey)) for word in given]
    assert call(tmp_path / "r", *SMALL, "transform.angle=5", *words) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f": every image failed: ImageError: {reason}" in line
    found: pd.DataFrame = read(tmp_path / "r")
    assert found["error"].str.startswith(f"ImageError: {reason}").all()


def test_unknown_segmentation_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, *SMALL, "explainer.segmentation=watershed") == 2
    assert capsys.readouterr().err == (
        "error: explainer.segmentation=watershed: must be one of quickshift, slic, felzenszwalb, "
        "grid\n"
    )

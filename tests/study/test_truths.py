"""What must come out whatever the network: zeros where nothing changes, and known distances."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from cheap import ONE_OF_EACH_KIND, SCALED_BY_THE_LOGIT, cheaply
from harness import FAST, rows
from networks import network
from torch import Tensor

from xai_sweep.core.seeds import standard_normal
from xai_sweep.data import Batch, ImageFile
from xai_sweep.explainers.base import Explained, Explainer
from xai_sweep.metrics import NRMSE, RMSE, Pearson, SecondDraw, ThereAndBack
from xai_sweep.models import Classifier
from xai_sweep.study.probe import Probe
from xai_sweep.study.question import Change, Question
from xai_sweep.study.subject import Subject
from xai_sweep.transforms import GaussianNoise, Rotation, Transform

NOTHING = [
    ("transform=rotation", "transform.angle=[0,360]"),
    ("transform=gaussian_noise", "transform.sigma=0"),
    ("transform=identity",),
]


@pytest.mark.parametrize("words", NOTHING, ids=lambda words: words[0])
@pytest.mark.parametrize("explainer", ONE_OF_EACH_KIND)
def test_no_change_is_no_distance(words: tuple[str, ...], explainer: str, tmp_path: Path) -> None:
    if explainer == "lime":  # a superpixel of more than 5 % of the pixels has no top 5 %
        words += ("explainer.num_samples=40", "explainer.options={rows: 4, columns: 6}")
    found = rows(tmp_path, *FAST, *cheaply(explainer), "data.limit=2", *words)
    if explainer in SCALED_BY_THE_LOGIT:
        assert (found["nrmse"] <= 1e-6).all()
    else:
        assert (found["rmse"] == 0).all()
        assert (found["nrmse"] == 0).all()
    assert (found["rmse_there_and_back"] == 0).all()
    assert (found["valid_fraction"] == 1).all()
    np.testing.assert_allclose(found["prob_ref_new"], found["prob_ref"], atol=1e-6)
    assert not found["flipped"].any()
    for metric in ("cosine", "pearson", "spearman", "ssim", "topk_iou"):
        np.testing.assert_allclose(found[metric], 1, atol=1e-6)


def test_right_angles_need_no_interpolation(tmp_path: Path) -> None:
    found = rows(tmp_path, *FAST, "data.limit=2", "transform.angle=[90,180,270]")
    assert (found["rmse_there_and_back"] == 0).all()
    assert (found["valid_fraction"] == 1).all()
    assert (found["rmse"] > 0).all()


@dataclass(frozen=True)
class Power(Explainer):
    """Planted: a function of each pixel alone, so it moves along with any transform."""

    power: int = 1
    source: ClassVar[str] = "this file"

    def explain(
        self,
        classifier: Classifier,
        images: Tensor,
        targets: Tensor,
        seeds: Tensor | None = None,
        carried: Tensor | None = None,
    ) -> Explained:
        maps = images.sum(dim=1, keepdim=True) ** self.power
        return Explained(maps.repeat(1, targets.shape[1], 1, 1))


@dataclass(frozen=True)
class WhiteNoise(Explainer):
    """Planted: white noise, another for every image, copy and seed."""

    is_deterministic: ClassVar[bool] = False
    source: ClassVar[str] = "this file"

    def explain(
        self,
        classifier: Classifier,
        images: Tensor,
        targets: Tensor,
        seeds: Tensor | None = None,
        carried: Tensor | None = None,
    ) -> Explained:
        assert seeds is not None
        digits = images.double().sum(dim=(1, 2, 3)).view(torch.int64) % 2**40
        noise = standard_normal(seeds // 2 + digits, (targets.shape[1], *images.shape[-2:]))
        return Explained(noise)


METRICS = {
    "rmse": RMSE(),
    "nrmse": NRMSE(),
    "pearson": Pearson(),
    "there_and_back": ThereAndBack(),
    "second_draw": SecondDraw(),
}


def measure(
    explainer: Explainer, transform: Transform, magnitudes: list[float], images: Tensor
) -> list[dict[str, object]]:
    probe = Probe(
        Subject(Classifier(network("plain"), mean=(0.0,) * 3, std=(1.0,) * 3), explainer),
        [Change(transform, tuple(magnitudes), Question(ranks=2))],
        METRICS,
        batch_size=4,
    )
    files = tuple(ImageFile(str(i), Path(f"{i}.png"), None) for i in range(len(images)))
    return [
        dict(row)
        for comparison in probe.predict_step(Batch(files=files, images=images, failed=()))
        for row in comparison.rows
    ]


@pytest.fixture
def smooth() -> Tensor:
    """Images without fine detail, so that interpolation costs little."""
    coarse = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    return torch.nn.functional.interpolate(coarse, size=64, mode="bicubic", align_corners=False)


ANGLES = [0.5, 7.0, 30.0, 45.0, 90.0, 133.0, -20.0]


def test_an_equivariant_explainer_scores_zero_at_every_angle(smooth: Tensor) -> None:
    # Linear in the pixels: turning and summing channels commute to the last digits.
    for row in measure(Power(), Rotation(), ANGLES, smooth):
        assert row["rmse"] < 1e-5  # type: ignore[operator]


def test_a_nonlinear_equivariant_explainer_moves_less_than_there_and_back(
    smooth: Tensor,
) -> None:
    found = measure(Power(power=3), Rotation(), ANGLES, smooth)
    assert len(found) == 3 * 7 * 2
    for row in found:
        assert row["rmse"] <= row["rmse_there_and_back"] + 1e-5  # type: ignore[operator]
        assert row["nrmse"] < 0.05  # type: ignore[operator]


@pytest.mark.parametrize(
    ("transform", "magnitudes"), [(Rotation(), [90.0, 180.0]), (GaussianNoise(), [0.1, 1.0])]
)
def test_a_random_explainer_scores_like_a_random_pair(
    transform: Transform, magnitudes: list[float], smooth: Tensor
) -> None:
    # Two independent standard normal maps differ by the square root of two, and so do two draws.
    for row in measure(WhiteNoise(), transform, magnitudes, smooth):
        assert row["rmse"] == pytest.approx(2**0.5, abs=0.08)
        assert row["rmse_second_draw"] == pytest.approx(2**0.5, abs=0.08)
        assert row["pearson"] == pytest.approx(0, abs=0.07)


def test_region_of_all_is_one_region_for_a_curve(tmp_path: Path) -> None:
    words = (*FAST, "data.limit=1", "transform.angle=[5,40]")
    own = rows(tmp_path / "own", *words).groupby("magnitude")["valid_fraction"].first()
    every = rows(tmp_path / "all", *words, "region_of=all")
    listed = rows(tmp_path / "list", *words, "region_of=[5,40]")
    assert own[5.0] > own[40.0]
    assert every["valid_fraction"].nunique() == 1
    assert every["valid_fraction"].iloc[0] <= own[40.0]
    assert (every["rmse"] == listed["rmse"]).all()

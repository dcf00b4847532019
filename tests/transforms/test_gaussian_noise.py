"""Gaussian noise: its size, its units, its independence."""

import pytest
import torch
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.models.classifier import Normalisation
from xai_sweep.transforms import GaussianNoise, Identity

SPACE = Normalisation((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))


def noisy(images: Tensor, sigmas: list[float], seeds: list[int], **parameters: object) -> Tensor:
    magnitudes = torch.tensor(sigmas, dtype=torch.float64)
    return GaussianNoise(**parameters).pixels(images, magnitudes, torch.tensor(seeds), SPACE)


@pytest.fixture
def grey() -> Tensor:
    return SPACE.to_normalised(torch.full((2, 3, 64, 64), 0.5))


def test_sigma_is_the_standard_deviation_in_normalised_space(grey: Tensor) -> None:
    noise = noisy(grey, [0.3, 0.3], [1, 2]) - grey
    # 12,288 draws each: the standard error of a standard deviation is 0.3 / sqrt(2 n) = 0.002.
    assert noise[0].std().item() == pytest.approx(0.3, abs=0.008)
    assert noise[0].mean().item() == pytest.approx(0, abs=0.011)


def test_sigma_is_the_standard_deviation_in_pixels(grey: Tensor) -> None:
    noise = SPACE.to_pixels(noisy(grey, [0.1, 0.1], [1, 2], space="pixel")) - 0.5
    for channel in range(3):
        assert noise[0, channel].std().item() == pytest.approx(0.1, abs=0.005)


def test_a_seed_gives_the_same_field_for_every_sigma(grey: Tensor) -> None:
    small, large = noisy(grey, [0.1, 0.4], [7, 7]) - grey
    torch.testing.assert_close(4 * small, large, atol=1e-6, rtol=1e-5)


def test_another_seed_gives_another_field(grey: Tensor) -> None:
    first, second = noisy(grey, [1.0, 1.0], [1, 2]) - grey
    correlation = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
    assert abs(correlation.item()) < 0.04  # four standard errors of 12,288 draws


def test_clip_keeps_pixels_within_bounds() -> None:
    images = SPACE.to_normalised(
        torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    )
    pixels = SPACE.to_pixels(noisy(images, [2.0], [1], clip=True))
    assert pixels.min().item() == pytest.approx(0, abs=1e-6)
    assert pixels.max().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("space", ["normalised", "pixel"])
@pytest.mark.parametrize("clip", [False, True])
def test_sigma_zero_changes_nothing(space: str, clip: bool) -> None:
    levels = torch.linspace(0, 1, 256).expand(1, 3, 8, 256)  # black and white among them
    images = SPACE.to_normalised(levels)
    assert torch.equal(noisy(images, [0.0], [3], space=space, clip=clip), images)


def test_identity_takes_no_other_magnitude_than_0() -> None:
    assert Identity.parameter.values(0) == (0.0,)
    with pytest.raises(InputError, match=r"must be a number of at least 0 and of at most 0"):
        Identity.parameter.values(1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"space": "rgb"}, "transform.space=rgb: must be one of normalised, pixel"),
        ({"clip": "no"}, "transform.clip=no: must be true or false"),
        ({"clip": 1}, "transform.clip=1: must be true or false"),
    ],
)
def test_bad_input_is_named(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        GaussianNoise(**parameters)  # type: ignore[arg-type]
    assert str(caught.value) == message

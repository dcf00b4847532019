"""Brightness: its units, and what a camera would make of it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.models.classifier import Normalisation
from xai_sweep.transforms import Brightness

SPACE = Normalisation((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
NO_SEEDS = torch.zeros(2, dtype=torch.int64)


def brighter(pixels: Tensor, shifts: list[float], **parameters: object) -> Tensor:
    """In pixels, there and back."""
    magnitudes = torch.tensor(shifts, dtype=torch.float64)
    images = SPACE.to_normalised(pixels)
    return SPACE.to_pixels(Brightness(**parameters).pixels(images, magnitudes, NO_SEEDS, SPACE))


@pytest.fixture
def pixels() -> Tensor:
    return torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("clip", [False, True])
def test_agrees_with_its_definition(pixels: Tensor, clip: bool) -> None:
    shifts = [0.3, -0.6]
    expected = pixels.double().numpy() + np.reshape(shifts, (2, 1, 1, 1))
    if clip:
        expected = np.minimum(np.maximum(expected, 0), 1)
        assert (expected == 1).any()
        assert (expected == 0).any()
    found = brighter(pixels, shifts, clip=clip)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_clipping_leaves_black_and_white_to_the_bit() -> None:
    images = SPACE.to_normalised(torch.linspace(0, 1, 256).expand(2, 3, 8, 256))
    magnitudes = torch.zeros(2, dtype=torch.float64)
    found = Brightness(clip=True).pixels(images, magnitudes, NO_SEEDS, SPACE)
    assert torch.equal(found, images)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError) as caught:
        Brightness(clip="no")  # type: ignore[arg-type]
    assert str(caught.value) == "transform.clip=no: must be true or false"

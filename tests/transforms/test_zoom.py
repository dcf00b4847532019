"""Zoom against an oracle that takes one pixel at a time, and against exact geometry."""

import numpy as np
import pytest
import torch
from oracles.zoom import zoomed
from torch import Tensor
from transform_checks import cases_of, changed, small_subject

from xai_sweep.core.errors import InputError
from xai_sweep.transforms import Zoom

SUBJECT = small_subject()


def zoom(images: Tensor, factors: list[float], **parameters: object) -> Tensor:
    return changed(SUBJECT, cases_of(images), Zoom(**parameters), factors).images


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 18, 25, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("factor", [0.4, 0.93, 1.07, 2.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_one_pixel_at_a_time(images: Tensor, factor: float, dtype: torch.dtype) -> None:
    found = zoom(images.to(dtype), [factor, factor])
    assert found.dtype == dtype
    expected = zoomed(images.double().numpy(), factor)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)


def test_factors_may_differ_within_a_batch(images: Tensor) -> None:
    together = zoom(images, [1.0, 1.3])
    assert torch.equal(together[0], images[0])
    assert torch.equal(together[1:], zoom(images[1:], [1.3]))


def test_above_1_a_square_about_the_centre_grows() -> None:
    image = torch.zeros(1, 3, 40, 40)
    image[..., 16:24, 16:24] = 1
    assert zoom(image, [2.0])[0, 0].sum() == pytest.approx(16**2, abs=1)
    assert zoom(image, [0.5])[0, 0].sum() == pytest.approx(4**2, abs=1)


def test_an_odd_factor_takes_whole_pixels_when_it_shrinks() -> None:
    image = torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    expected = torch.zeros_like(image)
    expected[..., 3:6, 3:6] = image[..., 1::3, 1::3]
    assert torch.equal(zoom(image, [1 / 3]), expected)


def test_the_border_shows_the_fill(images: Tensor) -> None:
    space = SUBJECT.classifier.normalisation
    small = [0.5, 0.5]
    assert torch.all(zoom(images, small)[..., 0, :] == 0)
    grey = zoom(images, small, fill="constant", fill_value=0.25)[..., 0, 0]
    expected = (0.25 - torch.tensor(space.mean)) / torch.tensor(space.std)
    torch.testing.assert_close(grey, expected.expand(2, 3))
    corner = zoom(images, small, fill="edge")[..., 0, 0]
    torch.testing.assert_close(corner, images[..., 0, 0])


def test_extreme_factors_are_finite(images: Tensor) -> None:
    for fill in ("mean", "edge", "reflect", "constant"):
        assert zoom(images, [1e-300, 1e300], fill=fill).isfinite().all()


def test_a_factor_of_zero_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        Zoom.parameter.values([0, 2])
    expected = "transform.factor=[0, 2]: must be a number above 0, or a list of them [times]"
    assert str(caught.value) == expected

"""Structural similarity against scikit-image, and by hand."""

import math

import numpy as np
import pytest
import torch
from oracles import metrics as oracles
from skimage import data
from skimage.metrics import structural_similarity

from xai_sweep.metrics import SSIM, Pairs
from xai_sweep.metrics.similarity.ssim import blur, similarity

C1, C2 = 0.01**2, 0.03**2


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_equals_skimage_in_the_interior(offset: float) -> None:
    photo = data.camera()[100:228, 150:290] / 255 + offset
    changed = photo + 0.1 * np.random.default_rng(0).standard_normal(photo.shape)
    new, reference = torch.from_numpy(np.float32([changed, photo]))[:, None]
    a, b = new[0].double().numpy(), reference[0].double().numpy()
    _, expected = structural_similarity(
        a,
        b,
        data_range=b.max() - b.min(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    found = similarity(Pairs(new, reference, torch.ones_like(new, dtype=torch.bool)))[0]
    inside = slice(5, -5)
    np.testing.assert_allclose(found[inside, inside], expected[inside, inside], atol=1e-4)
    assert found[inside, inside].mean().item() == pytest.approx(
        expected[inside, inside].mean(), abs=1e-6
    )


@pytest.mark.parametrize("ratio", [1e-3, 1, 1e3])
def test_sparse_maps_in_ragged_regions(ratio: float) -> None:
    rng = np.random.default_rng(1)
    new, reference = rng.standard_normal((2, 17, 23)) * (rng.random((2, 17, 23)) < 0.1)
    new, region = new * ratio, rng.random((17, 23)) < 0.3
    maps = torch.from_numpy(np.float32([new, reference]))[:, None]
    found = SSIM().between(Pairs(*maps, torch.from_numpy(region)[None])).item()
    right = oracles.ssim(*maps[:, 0].double().numpy(), region)
    assert found == pytest.approx(right, abs=1e-5)


def test_two_neighbours_by_hand() -> None:
    """Means q and p, variances pq, covariance -pq around both pixels; the data range is 1."""
    new, reference = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]])
    edge = math.exp(-1 / (2 * 1.5**2))
    p, q = 1 / (1 + edge), edge / (1 + edge)
    expected = (2 * p * q + C1) / (p**2 + q**2 + C1) * (C2 - 2 * p * q) / (C2 + 2 * p * q)
    found = SSIM().between(Pairs(new, reference, torch.ones(1, 1, 2, dtype=torch.bool)))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_two_pixels_that_do_not_see_each_other_by_hand() -> None:
    """No variance: one pixel agrees, the other has luminance C1 / (0.25 + C1)."""
    new, reference = torch.full((2, 1, 1, 7), torch.nan)
    new[0, 0, [0, 6]], reference[0, 0, [0, 6]] = torch.tensor([[1.0, 0.5], [1.0, 0.0]])
    found = SSIM().between(Pairs(new, reference, ~reference.isnan()))
    assert found.item() == pytest.approx((1 + C1 / (0.25 + C1)) / 2, rel=1e-6)


def test_a_constant_reference_is_undefined_a_constant_new_map_is_not() -> None:
    varied = torch.randn(1, 9, 9, generator=torch.Generator().manual_seed(0))
    constant, region = torch.full_like(varied, 0.1), torch.ones(1, 9, 9, dtype=torch.bool)
    assert SSIM().between(Pairs(varied, constant, region)).isnan().item()
    right = oracles.ssim(
        constant[0].double().numpy(), varied[0].double().numpy(), region[0].numpy()
    )
    assert SSIM().between(Pairs(constant, varied, region)).item() == pytest.approx(right, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 11, 11), (3, 20, 31), (5, 11, 300), (2, 10, 40), (4, 1, 7)])
def test_the_blur_is_the_same_for_any_number_of_maps(shape: tuple[int, int, int]) -> None:
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    blurred = blur(maps)
    assert torch.equal(torch.cat([blur(each) for each in maps.split(1)]), blurred)
    taps = torch.tensor([math.exp(-((d / 1.5) ** 2) / 2) for d in range(-5, 6)]).double()
    window = torch.outer(taps, taps)[None, None] / taps.sum() ** 2
    direct = torch.nn.functional.conv2d(maps[:, None].double(), window, padding=5)[:, 0]
    torch.testing.assert_close(blurred.double(), direct, rtol=1e-5, atol=1e-6)

"""Distances against their definitions, and the pairs and maps they stand on."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from metrics.catalogue import DISTANCES
from metrics.contract import equal
from oracles import metrics as oracles

from xai_sweep.metrics import Pairs

FREE_OF_SCALE = sorted(name for name, each in DISTANCES.items() if each.scale == "invariant")
every_distance = pytest.mark.parametrize("name", sorted(DISTANCES))


def heatmaps(count: int, side: int = 20, seed: int = 0) -> Pairs:
    """Loosely related heatmaps, heavy-tailed as relevance is, with ragged regions."""
    draw = torch.Generator().manual_seed(seed)
    new, noise = torch.randn(2, count, side, side, generator=draw).mul(2).sinh()
    region = torch.rand(count, side, side, generator=draw) > 0.2
    region[:, :3] = False
    return Pairs(new, new.roll(1, -1) * 0.7 + noise * 0.5, region)


def by_definition(name: str, pairs: Pairs) -> list[float]:
    """The oracle of a metric, pair by pair."""
    oracle: Callable[..., float] = vars(oracles)[name]
    sides = pairs.new.double().numpy(), pairs.reference.double().numpy(), pairs.region.numpy()
    return [oracle(*pair) for pair in zip(*sides, strict=True)]


def slack(name: str) -> float:
    """Absolute error allowed; the ranks of a small map with heavy tails are the least exact."""
    return {"rmse": 0, "euclidean": 0, "spearman": 1e-3, "ssim": 1e-5}.get(name, 1e-6)


@every_distance
def test_agrees_with_its_definition(name: str) -> None:
    pairs = heatmaps(5)
    found = DISTANCES[name].between(pairs)
    assert found.shape == (5,)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, by_definition(name, pairs), rtol=2e-6, atol=slack(name))


@every_distance
@pytest.mark.parametrize("scale", [1e-20, 1e-10, 1e10, 1e20])
def test_any_scale_of_relevance(name: str, scale: float) -> None:
    pairs = heatmaps(2)
    scaled = Pairs(pairs.new * scale, pairs.reference * scale, pairs.region)
    unit = scale if DISTANCES[name].scale == "proportional" else 1
    np.testing.assert_allclose(
        DISTANCES[name].between(scaled) / unit, DISTANCES[name].between(pairs), rtol=1e-5, atol=1e-5
    )


@every_distance
@pytest.mark.parametrize(("large", "small"), [(1e3, 1), (1e20, 1e-20), (1e-20, 1e20)])
def test_very_unlike_scales(name: str, large: float, small: float) -> None:
    pairs = heatmaps(2)
    unlike = Pairs(pairs.new * large, pairs.reference * small, pairs.region)
    found, right = DISTANCES[name].between(unlike), by_definition(name, unlike)
    np.testing.assert_allclose(found, right, rtol=2e-5, atol=slack(name))


@every_distance
def test_pairs_may_share_their_region(name: str) -> None:
    pairs = heatmaps(6)
    new, reference = (side.unflatten(0, (2, 3)) for side in (pairs.new, pairs.reference))
    region = pairs.region[:2, None]
    shared = DISTANCES[name].between(Pairs(new, reference, region))
    of_their_own = region.expand_as(new).flatten(0, 1)
    expected = DISTANCES[name].between(Pairs(pairs.new, pairs.reference, of_their_own))
    assert equal(shared, expected.unflatten(0, (2, 3)))


@every_distance
@pytest.mark.parametrize("scale", [1e-20, 1, 1e20])
def test_a_map_against_itself(name: str, scale: float) -> None:
    pairs = heatmaps(4)
    found = DISTANCES[name].between(Pairs(pairs.new * scale, pairs.new * scale, pairs.region))
    if DISTANCES[name].column.better == "higher":
        assert (found <= 1).all()
        assert found.numpy() == pytest.approx(1, abs=1e-6)
    else:
        assert (found == 0).all()


@every_distance
def test_the_smallest_maps(name: str) -> None:
    one = torch.ones(1, 1, 1)
    found = DISTANCES[name].between(Pairs(2 * one, one, one.bool()))
    undefined = {"pearson", "spearman", "ssim"}
    expected = {"rmse": 1.0, "euclidean": 1.0, "nrmse": 1.0, "cosine": 1.0, "topk_iou": 1.0}
    assert found.isnan().item() if name in undefined else found.item() == expected[name]


@pytest.mark.parametrize("name", FREE_OF_SCALE)
def test_zero_reference(name: str) -> None:
    new = heatmaps(1).new
    everywhere = torch.ones_like(new, dtype=torch.bool)
    found = DISTANCES[name].between(Pairs(new, torch.zeros_like(new), everywhere))
    if name == "topk_iou":
        assert found.item() == 0  # the zero map has no top, the other has
    else:
        assert found.isnan().item()


def test_pairs_count_and_scale() -> None:
    reference = torch.tensor([[[3.0, 4.0], [100.0, 0.0]], [[1e20, 1e20], [1e20, 7.0]]])
    region = torch.tensor([[[True, True], [False, False]], [[True, True], [True, False]]])
    pairs = Pairs(torch.zeros_like(reference), reference, region)
    assert pairs.count.tolist() == [2, 3]
    assert pairs.scale.tolist() == pytest.approx([12.5**0.5, 1e20])


@pytest.mark.parametrize("share", [0.01, 0.5, 1])
def test_nothing_is_left_of_a_constant_map(share: float) -> None:
    draw = torch.Generator().manual_seed(0)
    exponents = torch.rand(200, 1, 1, generator=draw) * 40 - 20
    constants = torch.randn(200, 1, 1, generator=draw) * 10**exponents
    maps = constants.expand(-1, 50, 70).contiguous()
    pairs = Pairs(maps, maps, torch.rand(maps.shape, generator=draw) < share)
    assert (pairs.a.centred == 0).all()
    assert (pairs.a.spread == 0).all()


@pytest.mark.parametrize("offset", [-10, 0, 10])
def test_spread_is_that_of_the_valid_pixels(offset: float) -> None:
    pairs = heatmaps(3)
    moved = Pairs(pairs.new + offset * pairs.new.abs().max(), pairs.reference, pairs.region)
    spread = moved.a.spread * torch.exp2(moved.a.exponent)
    valid = [side[region] for side, region in zip(moved.new.double(), moved.region, strict=True)]
    assert spread.tolist() == pytest.approx([(v.max() - v.min()).item() for v in valid], rel=1e-6)


def test_scaling_costs_no_digit() -> None:
    pairs = heatmaps(2)
    raw = torch.where(pairs.region, pairs.new, 0).double()
    back = pairs.a.values.double() * torch.exp2(pairs.a.exponent)[:, None, None]
    assert torch.equal(back, raw)
    largest = pairs.a.values.abs().amax((-2, -1))
    assert ((largest >= 0.5) & (largest < 1)).all()

"""Ranks by histogram against exact ranks."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy import stats

from xai_sweep.metrics import Pairs, Spearman

SHAPE = (112, 112)
Array = NDArray[np.float64]
KINDS: dict[str, Callable[[Generator], Array]] = {
    "normal": lambda rng: rng.standard_normal(SHAPE),
    "heavy-tailed": lambda rng: rng.standard_t(3, SHAPE),
    "sparse": lambda rng: np.where(rng.random(SHAPE) < 0.9, 0, rng.standard_normal(SHAPE)),
    "laplace cubed": lambda rng: rng.laplace(size=SHAPE) ** 3,
    "log-normal": lambda rng: np.exp(2 * rng.standard_normal(SHAPE)),
    "offset": lambda rng: 1 + rng.random(SHAPE),
}


def pairs_of(a: Array, b: Array, region: NDArray[np.bool_] | None = None) -> Pairs:
    """One pair from arrays."""
    everywhere = np.ones(a.shape, bool) if region is None else region
    a32, b32 = torch.from_numpy(a).float()[None], torch.from_numpy(b).float()[None]
    return Pairs(a32, b32, torch.from_numpy(everywhere)[None])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("mix", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_scipy(kind: str, mix: float, masked: bool) -> None:
    rng = default_rng(0)
    a, other = KINDS[kind](rng), KINDS[kind](rng)
    b = mix * a + (1 - mix) * other
    region = rng.random(SHAPE) > (0.4 if masked else -1)
    exact = stats.spearmanr(np.float32(a)[region], np.float32(b)[region]).statistic
    # Of a cubed Laplace distribution a tenth lies within a level of zero, and ties there.
    tolerance = 2e-4 if kind == "laplace cubed" else 1e-4
    assert Spearman().between(pairs_of(a, b, region)).item() == pytest.approx(exact, abs=tolerance)


def test_by_hand() -> None:
    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [3.0, 2.0]])
    assert Spearman().between(pairs_of(a, b)).item() == pytest.approx(1 - 6 * 4 / (4 * 15))


def test_ties_share_their_mean_rank() -> None:
    values = np.array([[5.0, -1.0, 0.0], [0.0, 7.0, 0.0]])
    ranks = pairs_of(values, values).a.ranks
    mean = (1 + 6) / 2
    assert (ranks[0] + mean).tolist() == [[5, 1, 3], [3, 6, 3]]


def test_ranks_in_a_region_are_those_of_its_pixels_alone() -> None:
    rng = default_rng(1)
    values = rng.standard_normal(SHAPE)
    region = rng.random(SHAPE) > 0.5
    ranks = pairs_of(values, values, region).a.ranks[0].numpy()
    exact = stats.rankdata(values[region])
    assert np.abs(ranks[region] - (exact - exact.mean())).max() <= 2
    assert (ranks[~region] == 0).all()
    assert ranks.sum() == 0


def test_float_noise_on_pixels_without_relevance_changes_nothing() -> None:
    rng = default_rng(2)
    values = KINDS["sparse"](rng)
    noisy = values + 1e-6 * np.abs(values).mean() * rng.standard_normal(SHAPE)
    assert Spearman().between(pairs_of(noisy, values)).item() == pytest.approx(1, abs=1e-5)
    assert stats.spearmanr(noisy.ravel(), values.ravel()).statistic < 0.6


def test_opposite_maps() -> None:
    values = KINDS["normal"](default_rng(3))
    assert Spearman().between(pairs_of(-values, values)).item() == pytest.approx(-1, abs=1e-6)


def test_a_constant_map_is_undefined() -> None:
    values = KINDS["normal"](default_rng(4))
    assert Spearman().between(pairs_of(np.full(SHAPE, 0.1), values)).isnan().item()
    assert Spearman().between(pairs_of(values, np.zeros(SHAPE))).isnan().item()

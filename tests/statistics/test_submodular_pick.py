from itertools import combinations

import numpy as np
import pytest

from xai_sweep.core.errors import InputError
from xai_sweep.statistics.submodular_pick import explanation_matrix, submodular_pick


def _coverage(weights: np.ndarray, chosen: tuple[int, ...]) -> float:
    """Equation 3 of the paper, feature by feature."""
    return sum(
        np.sqrt(sum(abs(weights[i, j]) for i in range(len(weights))))
        for j in range(weights.shape[1])
        if any(weights[i, j] != 0 for i in chosen)
    )


def _problem(seed: int, images: int = 7, features: int = 9) -> np.ndarray:
    """Images that overlap, each with one feature of its own, so that each adds something."""
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=(images, features))
    weights *= generator.random(weights.shape) < 0.3
    return np.hstack([weights, np.diag(generator.uniform(0.01, 0.1, images))])


@pytest.mark.parametrize("seed", range(12))
def test_greedy_is_the_paper_s_and_close_to_the_best_set(seed):
    weights = _problem(seed)
    images = range(len(weights))
    everything = _coverage(weights, tuple(images))
    chosen: tuple[int, ...] = ()
    for count in range(1, 5):
        before = _coverage(weights, chosen)
        gains = [_coverage(weights, (*chosen, i)) - before for i in images]
        chosen = (*chosen, int(np.argmax(gains)))
        pick = submodular_pick(weights, count)
        assert pick.indices == chosen
        assert sum(pick.gains) * everything == pytest.approx(_coverage(weights, chosen))
        best = max(_coverage(weights, some) for some in combinations(images, count))
        assert _coverage(weights, chosen) >= (1 - 1 / np.e) * best
    assert list(pick.gains) == sorted(pick.gains, reverse=True)


def test_greedy_is_not_always_the_best_set():
    # The middle image covers most by itself, and the two others all of it together.
    weights = np.array([[0, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1.0]])
    pick = submodular_pick(weights, 2)
    assert pick.indices == (0, 1)
    assert pick.gains == pytest.approx([4 * 2**0.5 / (4 * 2**0.5 + 2), 1 / (4 * 2**0.5 + 2)])


def test_the_first_of_equals_and_no_more_than_there_is_to_cover():
    weights = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, -4, 0.0]])
    pick = submodular_pick(weights, 9)
    assert pick.indices == (3, 1)
    assert pick.gains == pytest.approx([2 / (2 + 2**0.5), 2**0.5 / (2 + 2**0.5)])
    assert submodular_pick(np.zeros((3, 2)), 2).indices == ()


def test_a_matrix_by_hand():
    # Means over the four quarters of the first image: 6, 2, 1, 0; the second one is flat.
    heatmap = np.array([[-12, 0, 4, 0], [0, -12, 0, 4], [1, 1, 0, 0], [1, 1, 0, 0]], dtype=float)
    flat = np.full((4, 4), -1e-9)
    maps = np.stack([heatmap, flat, np.zeros((4, 4))]).astype(np.float32)
    np.testing.assert_allclose(
        explanation_matrix(maps, grid=2, cells=2),
        [[0.75, 0.25, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 0]],
    )
    every = explanation_matrix(maps, grid=2, cells=9)
    np.testing.assert_allclose(every[0], np.array([6, 2, 1, 0]) / 9)


def test_cells_of_unequal_size_are_means():
    matrix = explanation_matrix(np.ones((1, 5, 7), dtype=np.float32), grid=3, cells=9)
    np.testing.assert_allclose(matrix, np.full((1, 9), 1 / 9))


def test_bad_numbers_are_named():
    maps = np.ones((1, 4, 6), dtype=np.float32)
    with pytest.raises(InputError, match=r"^grid=5: must be from 1 to 4, the heatmaps' smaller"):
        explanation_matrix(maps, grid=5)
    with pytest.raises(InputError, match=r"^cells=0: must be at least 1"):
        explanation_matrix(maps, grid=2, cells=0)
    with pytest.raises(InputError, match=r"^count=0: must be at least 1"):
        submodular_pick(np.ones((1, 1)), 0)

import numpy as np
import pytest
import torch
from oracles import lime as oracle

from xai_sweep.explainers.perturbation.surrogates import clusters, fit, masks

SUPERPIXELS = (5, 8, 3)


def given(design: str, count: int = 61) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Masks, which superpixels three images have, and scores of two targets."""
    shown = masks(design, [(1, 2), (3, 4), (5, 6)], count, max(SUPERPIXELS), whole_first=True)
    present = torch.arange(max(SUPERPIXELS)) < torch.tensor(SUPERPIXELS)[:, None]
    scores = np.random.default_rng(0).uniform(size=(3, count, 2)) ** 2
    return shown, present, torch.from_numpy(scores)


@pytest.mark.parametrize("design", ["bernoulli", "paired", "orthogonal"])
@pytest.mark.parametrize(("kernel_width", "alpha"), [(0.25, 1.0), (0.5, 0.01)])
def test_all_images_and_targets_at_once_are_scikit_learn_one_by_one(
    design: str, kernel_width: float, alpha: float
) -> None:
    shown, present, scores = given(design)
    together = clusters(design, [61])
    found = fit(shown, present, scores, together, kernel_width, alpha)
    for image, superpixels in enumerate(SUPERPIXELS):
        own = shown[image, :, :superpixels].numpy()
        for target in range(2):
            score = scores[image, :, target].numpy()
            coefficients, intercept, r2 = oracle.model(own, score, kernel_width, alpha)
            errors = oracle.errors(own, score, together.numpy(), kernel_width, alpha)
            expected = np.zeros((2, 8))
            expected[:, :superpixels] = coefficients, errors
            close = {"rtol": 1e-9, "atol": 1e-12}
            np.testing.assert_allclose(found.coefficients[image, target], expected[0], **close)
            np.testing.assert_allclose(found.stderr[image, target], expected[1], **close)
            np.testing.assert_allclose(found.intercept[image, target], intercept, **close)
            np.testing.assert_allclose(found.r2[image, target], r2, **close)


def test_a_sample_that_shows_nothing_is_at_distance_one() -> None:
    shown = torch.tensor([[[True, True], [False, False], [True, False], [False, True]]])
    own = shown[0].numpy()
    scores = torch.tensor([0.9, 0.3, 0.5, 0.1], dtype=torch.float64)
    found = fit(shown, torch.ones(1, 2, dtype=torch.bool), scores[None, :, None], torch.arange(4))
    np.testing.assert_allclose(
        found.coefficients[0, 0], oracle.model(own, scores.numpy(), 0.25, 1.0)[0], rtol=1e-9
    )


def test_scores_that_do_not_change_have_nothing_to_explain() -> None:
    shown, present, scores = given("bernoulli")
    found = fit(shown, present, torch.full_like(scores, 0.5), torch.arange(61))
    assert found.coefficients.abs().max() < 1e-12
    assert torch.equal(found.r2, torch.ones(3, 2, dtype=torch.float64))
    torch.testing.assert_close(found.intercept, torch.full((3, 2), 0.5, dtype=torch.float64))


def test_too_few_samples_have_no_standard_error() -> None:
    shown, present, scores = given("paired", count=12)
    stderr = fit(shown, present, scores, clusters("paired", [12])).stderr
    # The first and five pairs and a half: enough for three or five coefficients, not for eight.
    assert stderr[0, :, :5].isfinite().all()
    assert stderr[1].isnan().all()
    assert stderr[2, :, :3].isfinite().all()


@pytest.mark.parametrize("design", ["bernoulli", "paired", "orthogonal"])
def test_the_standard_error_is_the_spread_over_draws(design: str) -> None:
    draws, count, superpixels = 300, 129, 8
    effects = np.random.default_rng(1).normal(size=(3, superpixels, superpixels))
    shown = masks(design, [(7, draw) for draw in range(draws)], count, superpixels, True)
    z = shown.double().numpy()
    # Effects of first, second and third order.
    scores = z @ effects[0, 0] + np.einsum("bni,bnj,ij->bn", z, z, effects[1])
    scores += z[:, :, 0] * z[:, :, 1] * z[:, :, 2] * 5 + z[:, :, 3] * z[:, :, 5] * z[:, :, 7] * 3
    found = fit(
        shown,
        torch.ones(draws, superpixels, dtype=torch.bool),
        torch.from_numpy(scores)[:, :, None],
        clusters(design, [count]),
    )
    spread = found.coefficients[:, 0].std(dim=0)
    estimated = found.stderr[:, 0].square().mean(dim=0).sqrt()
    # The orthogonal design is better than its errors say: none is estimated too small.
    assert (estimated > 0.85 * spread).all()
    if design != "orthogonal":
        assert (estimated < 1.15 * spread).all()

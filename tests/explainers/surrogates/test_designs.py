import numpy as np
import pytest
import torch

from xai_sweep.explainers.perturbation.surrogates import (
    DESIGNS,
    clusters,
    fit,
    independent_rows,
    masks,
)

ALL = list(DESIGNS)


def many(design: str, images: int, count: int, superpixels: int, first: bool = True) -> np.ndarray:
    keys = [(17, image) for image in range(images)]
    return masks(design, keys, count, superpixels, first).numpy()


@pytest.mark.parametrize("design", ALL)
def test_the_first_sample_shows_everything_and_only_of_the_first_round(design: str) -> None:
    assert many(design, 5, 30, 7)[:, 0].all()
    assert not many(design, 5, 30, 7, first=False)[:, 0].all()


@pytest.mark.parametrize("design", ALL)
@pytest.mark.parametrize("count", [16, 17])
def test_every_single_mask_is_a_fair_draw(design: str, count: int) -> None:
    images = 4000
    drawn = many(design, images, count, 6)[:, 1:].astype(float)
    tolerance = 5 * 0.5 / images**0.5
    assert np.abs(drawn.mean(axis=0) - 0.5).max() < tolerance
    # Two superpixels of one sample are independent.
    together = np.einsum("bni,bnj->nij", drawn, drawn) / images
    apart = together[:, ~np.eye(6, dtype=bool)]
    assert np.abs(apart - 0.25).max() < 5 * (0.25 * 0.75 / images) ** 0.5


@pytest.mark.parametrize("design", ["paired", "orthogonal"])
@pytest.mark.parametrize("count", [20, 21])
def test_each_mask_is_followed_by_its_complement(design: str, count: int) -> None:
    drawn = many(design, 3, count, 6)[:, 1:]
    pairs = (count - 1) // 2
    assert (drawn[:, 0 : 2 * pairs : 2] == ~drawn[:, 1 : 2 * pairs : 2]).all()
    groups = clusters(design, [count, 5])
    expected = [0, *(1 + i // 2 for i in range(count - 1))]
    start = expected[-1] + 1
    assert groups.tolist() == [*expected, *(start + i // 2 for i in range(5))]


def test_no_two_superpixels_are_shown_together_more_often_than_apart() -> None:
    drawn = many("orthogonal", 4, 1 + 2 * 32, 31)[:, 1:]
    signs = 2.0 * drawn - 1
    gram = signs.transpose(0, 2, 1) @ signs
    assert (gram == 64 * np.eye(31)).all()


@pytest.mark.parametrize("design", ALL)
def test_masks_depend_on_the_superpixel_and_not_on_how_many_there_are(design: str) -> None:
    many_superpixels, few = many(design, 3, 101, 40), many(design, 3, 101, 11)
    assert (many_superpixels[..., :11] == few).all()


@pytest.mark.parametrize("design", ALL)
def test_masks_of_an_image_do_not_depend_on_the_others(design: str) -> None:
    keys = [(1, 2), (2**63 - 1, 3), (1, 3)]
    together = masks(design, keys, 40, 9, True)
    for image, key in enumerate(keys):
        assert torch.equal(masks(design, [key], 40, 9, True)[0], together[image])
    assert not torch.equal(together[0], together[2])
    assert not torch.equal(together[1], together[2])


def test_more_superpixels_than_columns_repeat_them() -> None:
    drawn = many("orthogonal", 1, 16, 40, first=False)
    assert drawn.shape == (1, 16, 40)


def test_complements_count_once() -> None:
    assert [independent_rows("bernoulli", n) for n in (8, 9)] == [8, 9]
    assert [independent_rows("paired", n) for n in (8, 9)] == [4, 5]


def test_designs_agree_on_average_and_complements_remove_effects_of_even_order() -> None:
    draws, count, superpixels = 400, 65, 8
    rng = np.random.default_rng(2)
    main, pairs = rng.normal(size=superpixels), rng.normal(size=(superpixels, superpixels))
    found = {}
    for design in ALL:
        shown = torch.from_numpy(many(design, draws, count, superpixels))
        z = shown.double().numpy()
        scores = torch.from_numpy(z @ main + np.einsum("bni,bnj,ij->bn", z, z, pairs))
        present = torch.ones(draws, superpixels, dtype=torch.bool)
        model = fit(shown, present, scores[..., None], clusters(design, [count]), alpha=0.001)
        found[design] = model.coefficients[:, 0]
    reference = found["bernoulli"]
    for design in ("paired", "orthogonal"):
        difference = (found[design].mean(dim=0) - reference.mean(dim=0)).abs()
        assert (difference < 4 * reference.std(dim=0) / draws**0.5 * 2**0.5).all()
        assert (found[design].var(dim=0).mean() / reference.var(dim=0).mean()) < 0.5

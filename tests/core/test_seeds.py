"""Seeds: repeatable, apart for every purpose, and used to their last bit."""

import torch

from xai_sweep.core.seeds import derive, standard_normal


def test_a_seed_is_a_fact_of_its_parts() -> None:
    assert derive(0, "chelsea", "transform") == 3675947640345726279
    several = {
        derive(seed, image, purpose)
        for seed in (0, 1)
        for image in ("a", "b")
        for purpose in ("transform", "explainer")
    }
    assert len(several) == 8
    assert all(0 <= seed < 2**63 for seed in several)


def test_parts_do_not_run_into_each_other() -> None:
    assert derive(1, "1", "x") != derive(11, "", "x")


def test_all_bits_of_a_seed_count() -> None:
    low, high = standard_normal(torch.tensor([5, 5 + 2**40]), (8,))
    assert not torch.equal(low, high)


def test_a_field_does_not_depend_on_its_batch() -> None:
    together = standard_normal(torch.tensor([3, 4]), (2, 5))
    assert together.shape == (2, 2, 5)
    assert together.dtype == torch.float32
    assert torch.equal(standard_normal(torch.tensor([4]), (2, 5))[0], together[1])


def test_fields_are_standard_normal_and_independent() -> None:
    one, two = standard_normal(torch.tensor([1, 2]), (100_000,))
    # Five standard errors of 100,000 draws.
    assert abs(one.mean()) < 0.016
    assert abs(one.std() - 1) < 0.012
    assert abs((one * two).mean()) < 0.016

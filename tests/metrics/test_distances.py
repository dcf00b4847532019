"""RMSE, NRMSE, the Euclidean distance, cosine and Pearson on numbers worked out by hand."""

import math

import pytest
import torch
from oracles import metrics as oracles

from xai_sweep.metrics import NRMSE, RMSE, Cosine, Euclidean, Pairs, Pearson

NEW = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
REFERENCE = torch.tensor([[[1.0, 0.0], [3.0, 2.0]]])
EVERYWHERE = torch.ones(1, 2, 2, dtype=torch.bool)
PAIRS = Pairs(NEW, REFERENCE, EVERYWHERE)


def test_rmse_by_hand() -> None:
    assert RMSE().between(PAIRS).item() == pytest.approx(math.sqrt(8 / 4))


def test_rmse_in_a_region_by_hand() -> None:
    region = torch.tensor([[[True, True], [True, False]]])
    assert RMSE().between(Pairs(NEW, REFERENCE, region)).item() == pytest.approx(math.sqrt(4 / 3))


def test_rmse_against_zero_is_the_root_mean_square() -> None:
    zero = torch.zeros_like(NEW)
    expected = math.sqrt(30 / 4)
    assert RMSE().between(Pairs(NEW, zero, EVERYWHERE)).item() == pytest.approx(expected)
    assert RMSE().between(Pairs(zero, NEW, EVERYWHERE)).item() == pytest.approx(expected)
    assert RMSE().between(Pairs(zero, zero, EVERYWHERE)).item() == 0


def test_rmse_keeps_the_last_bit() -> None:
    one_up = torch.nextafter(NEW, torch.tensor(9.0))
    expected = math.sqrt(((one_up.double() - NEW.double()) ** 2).mean().item())
    assert RMSE().between(Pairs(one_up, NEW, EVERYWHERE)).item() == pytest.approx(
        expected, rel=1e-6
    )


def test_euclidean_by_hand() -> None:
    region = torch.tensor([[[True, True], [True, False]]])
    assert Euclidean().between(PAIRS).item() == pytest.approx(math.sqrt(8))
    assert Euclidean().between(Pairs(NEW, REFERENCE, region)).item() == pytest.approx(2)
    assert Euclidean().between(Pairs(NEW, NEW, EVERYWHERE)).item() == 0


def test_nrmse_by_hand() -> None:
    assert NRMSE().between(PAIRS).item() == pytest.approx(math.sqrt(8 / 4) / math.sqrt(14 / 4))


def test_nrmse_of_a_map_of_zeros_is_one() -> None:
    assert NRMSE().between(Pairs(0 * NEW, REFERENCE, EVERYWHERE)).item() == pytest.approx(1)


def test_nrmse_against_zero_is_undefined() -> None:
    zero = torch.zeros_like(NEW)
    assert NRMSE().between(Pairs(NEW, zero, EVERYWHERE)).isnan().item()
    assert NRMSE().between(Pairs(zero, zero, EVERYWHERE)).isnan().item()


def test_cosine_by_hand() -> None:
    assert Cosine().between(PAIRS).item() == pytest.approx(18 / math.sqrt(30 * 14))


def test_cosine_of_opposite_and_of_orthogonal_maps() -> None:
    turned = torch.tensor([[[-2.0, 1.0], [-4.0, 3.0]]])
    assert Cosine().between(Pairs(-3 * NEW, NEW, EVERYWHERE)).item() == pytest.approx(-1)
    assert Cosine().between(Pairs(turned, NEW, EVERYWHERE)).item() == pytest.approx(0, abs=1e-7)


def test_pearson_by_hand() -> None:
    assert Pearson().between(PAIRS).item() == pytest.approx(3 / 5)


def test_pearson_sees_a_whisper_on_a_large_offset() -> None:
    offset = Pairs(NEW * 2**-20 + 1, REFERENCE * 2**-20 - 1, EVERYWHERE)
    assert Pearson().between(offset).item() == pytest.approx(3 / 5, rel=1e-6)


def test_pearson_of_large_maps_that_hardly_vary() -> None:
    draw = torch.Generator().manual_seed(0)
    new, noise = 3.3 + 2e-6 * torch.randn(2, 1, 100, 100, generator=draw)
    reference = 0.5 * (new + noise)
    region = torch.rand(1, 100, 100, generator=draw) > 0.2
    expected = oracles.pearson(
        *(t[0].double().numpy() for t in (new, reference)), region[0].numpy()
    )
    assert 0.5 < expected < 0.9
    found = Pearson().between(Pairs(new, reference, region)).item()
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e20, 1e-20])
def test_pearson_of_a_constant_map_is_undefined(value: float) -> None:
    constant = torch.full((1, 37, 41), value)
    varied = torch.randn(1, 37, 41, generator=torch.Generator().manual_seed(0))
    region = torch.ones(1, 37, 41, dtype=torch.bool)
    assert Pearson().between(Pairs(constant, varied, region)).isnan().item()
    assert Pearson().between(Pairs(varied, constant, region)).isnan().item()

"""Sparseness by hand and by its definition."""

import pytest
import torch
from metrics.views import view_of
from oracles import metrics as oracles
from torch import Tensor

from xai_sweep.metrics import Sparseness


def score(values: list[float], region: list[bool] | None = None) -> float:
    heatmap = torch.tensor(values).view(1, 1, 1, -1)
    inside = None if region is None else torch.tensor(region).view(1, 1, -1)
    return Sparseness()(view_of(heatmap, region=inside))["sparseness"].item()


def test_by_hand() -> None:
    """Hurley and Rickard, section III: equal coefficients give 0, one alone 1 - 1/N."""
    assert score([2.0, 2.0, 2.0, 2.0]) == pytest.approx(0)
    assert score([0.0, 0.0, 7.0, 0.0]) == pytest.approx(3 / 4)
    assert score([1.0, 2.0, 3.0, 4.0]) == pytest.approx(
        1 - 2 * (0.1 * 3.5 + 0.2 * 2.5 + 0.3 * 1.5 + 0.4 * 0.5) / 4
    )


def test_the_sign_and_the_order_do_not_count() -> None:
    assert score([-4.0, 1.0, -3.0, 2.0]) == pytest.approx(score([1.0, 2.0, 3.0, 4.0]))


def test_only_the_region_counts() -> None:
    assert score([2.0, 100.0, 2.0, 0.0], [True, False, True, False]) == pytest.approx(0)
    assert score([0.0, 100.0, 2.0, 0.0], [True, False, True, False]) == pytest.approx(1 / 2)


def test_a_map_of_zeros_is_undefined() -> None:
    assert torch.tensor(score([0.0, 0.0])).isnan()
    assert torch.tensor(score([0.0, 5.0], [True, False])).isnan()


@pytest.mark.parametrize("power", [1, 3, 9])
def test_agrees_with_its_definition(power: int) -> None:
    draw = torch.Generator().manual_seed(0)
    heatmaps: Tensor = torch.randn(5, 1, 13, 17, generator=draw) ** power
    region = torch.rand(5, 13, 17, generator=draw) > 0.3
    found = Sparseness()(view_of(heatmaps, region=region))["sparseness"].flatten().tolist()
    expected = [
        oracles.gini(heatmap.double().numpy(), inside.numpy())
        for heatmap, inside in zip(heatmaps[:, 0], region, strict=True)
    ]
    assert found == pytest.approx(expected, abs=1e-6)

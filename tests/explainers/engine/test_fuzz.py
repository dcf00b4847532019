"""Random small networks: what holds for every network holds for these."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operation_networks import CLASSES, OPERATIONS, PIECEWISE_LINEAR, SIDE, network
from relevance import heatmaps, relevance, shares, wrong_signs
from torch import Tensor, nn

from xai_sweep.config.presets import preset
from xai_sweep.models import Classifier

ZERO: Sequence[Mapping[str, Any]] = [{"rule": "zero"}]
PRESETS = (
    "default",
    "deep_taylor",
    "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box",
    "epsilon_plus",
)
RULES = {"flat": [{"rule": "flat"}], "w^2": [{"op": ["conv", "linear"], "rule": "w_square"}]}


def programs(names: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(list(names)), min_size=6, max_size=10)


def some_images(scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return scale * torch.randn(2, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)


def largest(net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The target with the largest logit, which is not all but zero, and that logit."""
    with torch.no_grad():
        logits = net(images)
    targets = logits.abs().argmax(1, keepdim=True)
    return targets, logits.gather(1, targets)


def check_gradient(names: Sequence[str]) -> None:
    net, images = network(names), some_images()
    targets, _ = largest(net, images)
    pixels = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(pixels).gather(1, targets).sum(), pixels)
    expected = (images * gradient).sum(1, keepdim=True)
    found = heatmaps(Classifier(net), images, targets, rules=ZERO)
    assert (found - expected).abs().max() <= 1e-8 * expected.abs().max() + 1e-300


def check_rules(names: Sequence[str]) -> None:
    """Accounts sum to 1 with every preset, and fast forms give what the equations give."""
    net, images = network(names), some_images()
    targets, logits = largest(net, images)
    for name, own in ({name: preset(name) for name in PRESETS} | RULES).items():
        chosen = [*own, *ZERO]  # zennit's presets say nothing of upsampling
        found = relevance(Classifier(net), images, targets, rules=chosen)
        parts = shares(found)
        gross = found.maps.abs().sum((2, 3, 4)) / logits.abs() + sum(
            part.abs() for part in parts.values()
        )
        off = (sum(parts.values()) - 1).abs() / gross.clamp(min=1)
        assert off.max() < 1e-7, (name, parts)
        slow = relevance(Classifier(net), images, targets, fast=False, rules=chosen)
        apart = (found.maps - slow.maps).abs().max() / slow.maps.abs().max().clamp(min=1e-300)
        assert apart < 1e-6, (name, float(apart))


def check_signs(names: Sequence[str]) -> None:
    for scale in (0.1, 100.0):
        _, wrong = wrong_signs(Classifier(network(names)), some_images(scale))
        assert not wrong


@cache
def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@_settings(8)
@given(programs(list(PIECEWISE_LINEAR)))
def test_lrp_zero_is_input_times_gradient(names: list[str]) -> None:
    check_gradient(names)


@_settings(10)
@given(programs(list(OPERATIONS)))
def test_accounts_forms_and_signs(names: list[str]) -> None:
    check_signs(names)
    check_rules(names)


@pytest.mark.networks
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation(name: str) -> None:
    if name in PIECEWISE_LINEAR:
        check_gradient([name, "relu", name])
    check_signs([name, "conv", name])
    check_rules([name, "conv relu", name])


def test_networks_have_logits() -> None:
    assert network(["conv"])(some_images()).shape == (2, CLASSES)

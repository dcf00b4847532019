"""Relevance is neither made nor lost: what does not arrive at the pixels, the accounts name."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import networks
import pytest
import torch
import torchvision
from relevance import heatmaps, relevance, shares
from torch import Tensor, nn

from xai_sweep.config.presets import preset
from xai_sweep.models import Classifier

# In these LRP-0 is input times gradient, so the bias' part has a closed form.
RECTIFIED = ("plain", "functional", "in_place", "resnet18", "squeezenet1_0", "shufflenet_v2_x0_5")
GATED = ("gated", "mobilenet_v3_small")
RULES: dict[str, Sequence[Mapping[str, Any]]] = {
    "zero": [{"rule": "zero"}],
    "gamma": [{"rule": "gamma", "gamma": 0.25}],
    "strong gamma": [{"rule": "gamma", "gamma": 5.0}],
}
LOSSY = RULES | {
    "epsilon": [{"rule": "epsilon", "epsilon": 0.1}],
    "relative epsilon": [{"rule": "epsilon", "epsilon": 0.25, "relative": True}],
    "without bias": [{"rule": "epsilon", "epsilon": 0.25, "relative": True, "bias": False}],
    "alpha-beta": [{"rule": "alpha_beta", "op": "conv"}, {"rule": "epsilon"}],
    "epsilon_gamma_box": preset("epsilon_gamma_box"),
    "epsilon_plus_flat": preset("epsilon_plus_flat"),
}


@cache
def network(name: str, biases: bool = True) -> nn.Module:
    """In float64 and evaluation mode, with random weights, biases and batchnorm statistics."""
    if name in networks.NETWORKS:
        net = networks.network(name)
    else:
        net = networks.randomised(
            lambda: torchvision.models.get_model(name, weights=None, num_classes=5)
        )
    for part in net.modules():
        if not biases and isinstance(part, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            if part.bias is not None:
                nn.init.zeros_(part.bias)
            if isinstance(part, nn.BatchNorm2d):
                nn.init.zeros_(part.running_mean)
    return net.double()


def some_images(name: str) -> Tensor:
    side = 16 if name in networks.NETWORKS else 64
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, side, side, dtype=torch.float64, generator=generator)


def largest_two(net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Targets and logits; a logit of zero has no relevance to hand on."""
    with torch.no_grad():
        logits = net(images)
    targets = logits.abs().topk(2, dim=1).indices
    return targets, logits.gather(1, targets)


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("name", RECTIFIED + GATED)
def test_without_biases_all_arrives(name: str, rules: Sequence[Mapping[str, Any]]) -> None:
    net, images = network(name, biases=False), some_images(name)
    targets, logits = largest_two(net, images)
    arrived = heatmaps(Classifier(net), images, targets, rules=rules).sum(dim=(2, 3))
    torch.testing.assert_close(arrived, logits, rtol=1e-6, atol=0)


@pytest.mark.parametrize("rules", LOSSY.values(), ids=LOSSY)
@pytest.mark.parametrize("name", RECTIFIED + GATED)
def test_with_biases_all_is_accounted_for(name: str, rules: Any) -> None:
    net, images = network(name), some_images(name)
    targets, logits = largest_two(net, images)
    found = relevance(Classifier(net), images, targets, rules=rules)
    torch.testing.assert_close(found.logits, logits)
    whole = sum(shares(found).values())
    torch.testing.assert_close(whole, torch.ones_like(logits), rtol=0, atol=1e-6)


def bias_part(net: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """``sum_b b df/db`` ``[B, K]`` over all biases b (Srinivas and Fleuret 2019, eq. 4)."""
    biases: list[tuple[nn.Parameter, Tensor]] = []
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None:
            biases.append((part.bias, part.bias.detach()))
        if isinstance(part, nn.BatchNorm2d):
            # The mean is a bias, too.
            moved = part.weight * part.running_mean / (part.running_var + part.eps).sqrt()
            biases.append((part.bias, (part.bias - moved).detach()))
    rows = []
    for image, chosen in zip(images, targets, strict=True):
        logits = net(image[None])[0, chosen]
        gradients = [
            torch.autograd.grad(logit, [bias for bias, _ in biases], retain_graph=True)
            for logit in logits
        ]
        rows.append(
            [
                sum(float(g @ size) for g, (_, size) in zip(found, biases, strict=True))
                for found in gradients
            ]
        )
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("name", RECTIFIED)
def test_the_biases_part_of_lrp_zero(name: str) -> None:
    net, images = network(name), some_images(name)
    targets, logits = largest_two(net, images)
    found = shares(relevance(Classifier(net), images, targets, rules=[{"rule": "zero"}]))
    expected = bias_part(net, images, targets) / logits
    assert expected.abs().amin() > 1e-6
    torch.testing.assert_close(found["absorbed"], expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found["lost"], torch.zeros_like(logits), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", RECTIFIED)
@pytest.mark.parametrize("rule", ["zero", "gamma", "alpha_beta"])
def test_a_bias_that_takes_no_part_gets_nothing(name: str, rule: str) -> None:
    net, images = network(name), some_images(name)
    targets, _ = largest_two(net, images)
    rules = [{"rule": rule, "bias": False}]
    found = relevance(Classifier(net), images, targets, rules=rules)
    assert (found.absorbed == 0).all()

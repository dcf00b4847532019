"""Every rule, in every kind of layer, against its sums (`oracles.lrp`)."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
import torch
from oracles.lrp import explain
from relevance import propagation, relevance
from torch import Tensor, nn

from xai_sweep.models import Classifier

Rule = Mapping[str, Any]

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "plain": lambda **bias: nn.Conv2d(4, 6, 3, **bias),
    # Of 7 x 6 pixels a stride of 2 leaves the last column out.
    "stride": lambda **bias: nn.Conv2d(4, 5, 3, stride=2, **bias),
    "padding": lambda **bias: nn.Conv2d(4, 5, 3, padding=(2, 1), **bias),
    "dilation": lambda **bias: nn.Conv2d(4, 5, 3, dilation=(2, 1), **bias),
    "groups": lambda **bias: nn.Conv2d(4, 6, 3, padding=1, groups=2, **bias),
    "depthwise": lambda **bias: nn.Conv2d(4, 8, 3, groups=4, **bias),
    "asymmetric": lambda **bias: nn.Conv2d(4, 5, (1, 3), (2, 1), padding=(0, 1), **bias),
    "pointwise": lambda **bias: nn.Conv2d(4, 5, 1, **bias),
    "linear": lambda **bias: nn.Linear(4 * 7 * 6, 9, **bias),
}
RULES: list[Rule] = [
    {"rule": "zero"},
    {"rule": "zero", "bias": False},
    {"rule": "epsilon", "epsilon": 0.1},
    {"rule": "epsilon", "epsilon": 0.1, "bias": False},
    {"rule": "epsilon", "epsilon": 0.25, "relative": True},
    {"rule": "epsilon", "epsilon": 0.25, "relative": True, "bias": False},
    {"rule": "gamma"},
    {"rule": "gamma", "gamma": 2.0, "stabilizer": 0.1},
    {"rule": "gamma", "bias": False},
    {"rule": "alpha_beta"},
    {"rule": "alpha_beta", "alpha": 3.0, "beta": 2.0, "stabilizer": 0.1},
    {"rule": "alpha_beta", "alpha": 1.0, "beta": 0.0},
    {"rule": "alpha_beta", "bias": False},
    {"rule": "z_plus"},
    {"rule": "z_plus", "stabilizer": 0.1, "bias": False},
    {"rule": "z_box"},
    {"rule": "z_box", "stabilizer": 0.1},
    {"rule": "w_square"},
    {"rule": "w_square", "bias": True, "stabilizer": 0.1},
    {"rule": "flat"},
    {"rule": "flat", "stabilizer": 0.1},
]
PLAIN: list[Rule] = [
    {"rule": name}
    for name in ("zero", "epsilon", "gamma", "alpha_beta", "z_plus", "z_box", "w_square", "flat")
]
TARGETS = torch.tensor([[0, 3], [2, 1], [3, 3]])
MEAN, STD = (0.5, 0.4, 0.3, 0.6), (0.2, 0.25, 0.3, 0.4)


def written(rule: Rule) -> str:
    return ",".join(
        str(value) if key == "rule" else f"{key}={value}" for key, value in rule.items()
    )


def chain(*layers: nn.Module) -> nn.Sequential:
    """In float64 with a linear head; weights and biases are of the same order."""
    channels = layers[0].in_channels if isinstance(layers[0], nn.Conv2d) else 4
    body = nn.Sequential(*layers, nn.Flatten()).eval()
    width = body(torch.zeros(1, channels, 7, 6)).shape[1]
    net = nn.Sequential(*body, nn.Linear(width, 4)).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return net


def some_images(channels: int) -> Tensor:
    """Normalised images: pixels from black to white."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(3, channels, 7, 6, dtype=torch.float64, generator=generator)
    low, high = bounds(channels)
    return low[:, None, None] + pixels * (high - low)[:, None, None]


def bounds(channels: int) -> tuple[Tensor, Tensor]:
    mean = torch.tensor(MEAN[:channels], dtype=torch.float64)
    std = torch.tensor(STD[:channels], dtype=torch.float64)
    return -mean / std, (1 - mean) / std


def compare(net: nn.Sequential, rules: Mapping[int, Rule], images: Tensor) -> None:
    """Maps and shares of rules by position; where there is none, zero."""
    given = [*({**rules[at], "index": f"[{at}]"} for at in rules), {"rule": "zero"}]
    compare_with(net, rules, images, rules=given)


def compare_with(
    net: nn.Sequential, expected_rules: Mapping[int, Rule], images: Tensor, **parameters: Any
) -> None:
    channels = images.shape[1]
    classifier = Classifier(net, mean=MEAN[:channels], std=STD[:channels])
    run = propagation(classifier, images, **parameters)
    found, without_accounts = run(images, TARGETS, accounts=True), run(images, TARGETS)
    torch.testing.assert_close(without_accounts.maps, found.maps, rtol=1e-9, atol=1e-12)
    ours = found.maps.sum(dim=2)
    for row, targets in enumerate(TARGETS.tolist()):
        for rank, target in enumerate(targets):
            expected = explain(list(net), expected_rules, images[row], target, bounds(channels))
            largest = expected.heatmap.abs().max()
            assert largest > 0
            assert (ours[row, rank] - expected.heatmap).abs().max() <= 1e-9 * largest
            assert found.absorbed[row, rank].item() == pytest.approx(
                expected.bias, rel=1e-9, abs=1e-9
            )
            assert found.lost[row, rank].item() == pytest.approx(expected.lost, rel=1e-9, abs=1e-9)


@cache
def first(kind: str, bias: bool) -> nn.Sequential:
    """The layer sees the image, whose pixels have both signs; its output keeps both signs."""
    flatten = [nn.Flatten()] if kind == "linear" else []
    return chain(*flatten, LAYERS[kind](bias=bias))


@cache
def between(kind: str, bias: bool) -> nn.Sequential:
    """The layer follows a ReLU and precedes one; one input channel, so that no sum hides a part."""
    flatten = [nn.Flatten()] if kind == "linear" else []
    stem = nn.Conv2d(1, 4, 3, padding=1)
    return chain(stem, nn.ReLU(), *flatten, LAYERS[kind](bias=bias), nn.ReLU())


@cache
def double() -> nn.Sequential:
    """Two layers, the upper of which may hand relevance to neurons that its ReLU has closed."""
    return chain(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU())


BIAS = pytest.mark.parametrize("bias", [True, False], ids=["bias", "without"])


@BIAS
@pytest.mark.parametrize(
    ("kind", "rule"),
    # The numbers that a linear layer sees have no channels, and so no bounds.
    [(k, r) for k in LAYERS for r in RULES if (k, r["rule"]) != ("linear", "z_box")],
    ids=lambda value: value if isinstance(value, str) else written(value),
)
def test_at_the_image(kind: str, rule: Rule, bias: bool) -> None:
    net = first(kind, bias)
    compare(net, {len(net) - 3: rule}, some_images(4))


@BIAS
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule["rule"] != "z_box"], ids=written)
@pytest.mark.parametrize("kind", LAYERS)
def test_between_rectifiers(kind: str, rule: Rule, bias: bool) -> None:
    net = between(kind, bias)
    compare(net, {len(net) - 4: rule}, some_images(1))


@pytest.mark.parametrize("upper", [rule for rule in PLAIN if rule["rule"] != "z_box"], ids=written)
@pytest.mark.parametrize("lower", PLAIN, ids=written)
def test_one_rule_below_another(lower: Rule, upper: Rule) -> None:
    compare(double(), {0: lower, 2: upper}, some_images(3))


WITH_BATCHNORM: dict[str, Callable[[], nn.Module]] = {
    "after": lambda: nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.BatchNorm2d(5)),
    "after, no bias": lambda: nn.Sequential(nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5)),
    "after groups": lambda: nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)),
    "after linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(168, 9), nn.BatchNorm1d(9)),
    "before": lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3, stride=2)),
    "before groups": lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2)),
    "around": lambda: nn.Sequential(
        nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3, dilation=2), nn.BatchNorm2d(5)
    ),
    "alone": lambda: nn.BatchNorm2d(4),
}


@cache
def with_batchnorm(kind: str) -> nn.Sequential:
    stem = nn.Conv2d(1, 4, 3, padding=1)
    net = chain(stem, nn.ReLU(), WITH_BATCHNORM[kind](), nn.ReLU())
    generator = torch.Generator().manual_seed(3)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(std=0.3, generator=generator)
            part.running_var.uniform_(0.5, 2, generator=generator)
    return net


@pytest.mark.parametrize("rule", [rule for rule in PLAIN if rule["rule"] != "z_box"], ids=written)
@pytest.mark.parametrize("kind", WITH_BATCHNORM)
def test_a_batchnorm_is_part_of_its_layer(kind: str, rule: Rule) -> None:
    compare(with_batchnorm(kind), {2: rule}, some_images(1))


@pytest.mark.parametrize(
    ("batchnorm", "rule"),
    [
        ("abs_z", {"rule": "abs_z"}),
        ("epsilon", {"rule": "epsilon", "epsilon": 1e-6}),
        # With one input each, an equal part is all.
        ("identity", {"rule": "flat"}),
    ],
)
def test_a_batchnorm_with_a_rule_of_its_own(batchnorm: str, rule: Rule) -> None:
    layers = WITH_BATCHNORM["around"]()
    net = chain(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), *layers, nn.ReLU())
    rules = {0: {"rule": "gamma"}, 3: {"rule": "gamma"}, 7: {"rule": "gamma"}, 2: rule, 4: rule}
    given = [{"rule": "gamma"}]
    compare_with(net, rules, some_images(1), rules=given, batchnorm=batchnorm)


def test_a_whole_network() -> None:
    net = chain(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2, stride=1),
        nn.Conv2d(4, 5, 2),
        nn.LeakyReLU(0.1),
        nn.AvgPool2d(2, stride=1, padding=1),
        nn.Conv2d(5, 6, 2, stride=2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 8),
        nn.ReLU(),
    )
    rules: dict[int, Rule] = {
        0: {"rule": "z_box"},
        3: {"rule": "gamma", "gamma": 0.5},
        6: {"rule": "alpha_beta", "stabilizer": 0.01},
        9: {"rule": "epsilon", "epsilon": 0.25, "relative": True},
    }
    compare(net, rules, some_images(3))


# One neuron with inputs 2 and 1, weights 1 and -3, bias 1/2: it gets 2, -3 and 1/2, in sum -1/2.
# Bounds are -1 and 2. Of the relevance -1/2, what the inputs get, the bias gets, and what is lost:
BY_HAND: list[tuple[Rule, tuple[float, float], float, float]] = [
    ({"rule": "zero"}, (2, -3), 1 / 2, 0),
    ({"rule": "zero", "bias": False}, (1, -3 / 2), 0, 0),
    ({"rule": "epsilon", "epsilon": 0.5}, (1, -3 / 2), 1 / 4, -1 / 4),
    ({"rule": "epsilon", "epsilon": 1.0, "relative": True}, (1, -3 / 2), 1 / 4, -1 / 4),
    # Below zero it is -3 that counts 1 + 1/2 times: 2 - 9/2 + 1/2 = -2.
    ({"rule": "gamma", "gamma": 0.5}, (1 / 2, -9 / 8), 1 / 8, 0),
    ({"rule": "alpha_beta"}, (-4 / 5, 1 / 2), -1 / 5, 0),
    ({"rule": "z_plus"}, (-2 / 5, 0), -1 / 10, 0),
    ({"rule": "z_plus", "stabilizer": 1.5}, (-1 / 4, 0), -1 / 16, -3 / 16),
    # 2 + 1 and -3 + 6.
    ({"rule": "z_box"}, (-1 / 4, -1 / 4), 0, 0),
    ({"rule": "w_square"}, (-1 / 20, -9 / 20), 0, 0),
    ({"rule": "w_square", "bias": True}, (-2 / 41, -18 / 41), -1 / 82, 0),
    ({"rule": "flat"}, (-1 / 4, -1 / 4), 0, 0),
]


@pytest.mark.parametrize("case", BY_HAND, ids=lambda case: written(case[0]))
def test_by_hand(case: tuple[Rule, tuple[float, float], float, float]) -> None:
    rule, inputs, bias, lost = case
    layer = nn.Conv2d(1, 1, (1, 2)).double()
    nn.init.constant_(layer.bias, 0.5)
    layer.weight.data.copy_(torch.tensor([1.0, -3.0]))
    classifier = Classifier(nn.Sequential(layer, nn.Flatten()), mean=(1 / 3,), std=(1 / 3,))
    image = torch.tensor([[[[2.0, 1.0]]]]).double()
    for fast in (True, False):
        found = relevance(classifier, image, torch.tensor([[0]]), rules=[rule], fast=fast)
        assert found.maps.flatten().tolist() == pytest.approx(list(inputs), abs=1e-12)
        assert found.absorbed.item() == pytest.approx(bias, abs=1e-12)
        assert found.lost.item() == pytest.approx(lost, abs=1e-12)

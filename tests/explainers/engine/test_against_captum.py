"""Where captum's rules mean the same, ours give captum's maps, in float64.

Some definitions differ, and are kept out of the comparison:

- captum's gamma rule changes weights, whatever the signs:
  ``R_j = sum_k a_j (w_jk + gamma w_jk^+) / (sum_j a_j (w_jk + gamma w_jk^+) + b_k) R_k``, with the
  bias as it is or dropped. Ours weights contributions, the bias' among them, by the sign of their
  sum. Both are one without biases, for inputs of at least zero and outputs that a ReLU follows.
- captum's alpha-1-beta-0 rule takes positive weights, ours positive contributions. Both are one
  for inputs of at least zero and dropped biases. Pixels, which have signs, get epsilon here.
- captum treats max pooling with its epsilon rule: the winner gets ``a / (a + 1e-9) R``. Ours gives
  it R, and captum does with an epsilon small enough.
- captum's identity rule hands relevance over any layer of as many outputs as inputs, also where
  they do not stand one to one. Ours refuses; it is compared in batchnorms.
"""

from collections.abc import Callable

import captum.attr
import pytest
import torch
import torchvision
from captum.attr._utils.lrp_rules import (
    Alpha1_Beta0_Rule,
    EpsilonRule,
    GammaRule,
    IdentityRule,
    PropagationRule,
)
from relevance import heatmaps
from torch import Tensor, nn

from xai_sweep.models import Classifier

TARGETS = torch.tensor([[3], [7]])
TINY = 1e-9  # what captum adds to every sum that it divides by, those of average pools included
Choose = Callable[[str, nn.Module], PropagationRule | None]


def vgg(name: str, bias: float = 0.1) -> nn.Module:
    """A network of torchvision in float64; captum cannot do with in-place.

    Args:
        bias: the standard deviation of convolutions' biases.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torchvision.models.get_model(name, weights=None, num_classes=10)
        for part in net.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.normal_(part.bias, std=bias if isinstance(part, nn.Conv2d) else 0.1)
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(std=0.2)
                part.running_var.uniform_(0.5, 2)
                nn.init.normal_(part.bias, std=0.2)
            if isinstance(part, nn.ReLU):
                part.inplace = False
    return net.double().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).double()


def captum_maps(module: nn.Module, choose: Choose, images: Tensor, targets: Tensor) -> Tensor:
    """One map per image; layers that are not chosen for get captum's default, epsilon."""
    for path, part in module.named_modules():
        rule = EpsilonRule(1e-30) if isinstance(part, nn.MaxPool2d) else choose(path, part)
        if rule is not None:
            part.rule = rule  # type: ignore[assignment]
    relevance = captum.attr.LRP(module).attribute(images.clone().requires_grad_(), target=targets)
    return relevance.detach().sum(dim=1)


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    largest = theirs.abs().amax(dim=(1, 2))
    assert (largest > 0).all()
    assert ((ours - theirs).abs().amax(dim=(1, 2)) / largest).max() < 1e-9


EPSILON = {"rule": "epsilon", "epsilon": TINY}


def epsilon(path: str, part: nn.Module) -> PropagationRule | None:
    """A larger epsilon in the classifier."""
    return EpsilonRule(0.01) if isinstance(part, nn.Linear) else None


def gamma(path: str, part: nn.Module) -> PropagationRule | None:
    """Gamma in all convolutions but the first."""
    inner = isinstance(part, nn.Conv2d) and path != "features.0"
    return GammaRule(0.25) if inner else None


def alpha1_beta0(path: str, part: nn.Module) -> PropagationRule | None:
    """Alpha 1, beta 0 in all convolutions but the first."""
    inner = isinstance(part, nn.Conv2d) and path != "features.0"
    return Alpha1_Beta0_Rule(set_bias_to_zero=True) if inner else None


CASES: dict[str, tuple[Choose, list[dict[str, object]]]] = {
    "epsilon": (epsilon, [{"op": "linear", "rule": "epsilon", "epsilon": 0.01}, EPSILON]),
    "gamma": (
        gamma,
        [
            {"position": "first", **EPSILON},
            {"op": "conv", "rule": "gamma", "gamma": 0.25, "stabilizer": TINY},
            EPSILON,
        ],
    ),
    "alpha1_beta0": (
        alpha1_beta0,
        [
            {"position": "first", **EPSILON},
            {"op": "conv", "rule": "z_plus", "stabilizer": TINY, "bias": False},
            EPSILON,
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rule_gives_the_maps_of_captum(case: str, images: Tensor) -> None:
    choose, rules = CASES[case]
    module = vgg("vgg16", bias=0.0 if case == "gamma" else 0.1)
    ours = heatmaps(Classifier(module), images, TARGETS, rules=rules)
    assert_same(ours[:, 0], captum_maps(module, choose, images, TARGETS[:, 0]))


def test_identity_in_batchnorms(images: Tensor) -> None:
    # With the tiny epsilon, relevance that no ReLU has set to zero grows to 1e18.
    def choose(path: str, part: nn.Module) -> PropagationRule | None:
        if isinstance(part, nn.BatchNorm2d):
            return IdentityRule()
        return EpsilonRule(0.1) if isinstance(part, nn.Conv2d | nn.Linear) else None

    module = vgg("vgg16_bn")
    rules = [{"op": ["conv", "linear"], "rule": "epsilon", "epsilon": 0.1}, EPSILON]
    ours = heatmaps(Classifier(module), images, TARGETS, rules=rules, batchnorm="identity")
    assert_same(ours[:, 0], captum_maps(module, choose, images, TARGETS[:, 0]))

"""LRP as an explainer: what it adds to the engine."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from networks import network
from relevance import relevance, shares
from torch import Tensor, nn
from torch.nn.functional import interpolate
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.explainers import LRP
from xai_sweep.explainers.relevance.engine import Rule
from xai_sweep.explainers.relevance.engine.fast import ZeroForm
from xai_sweep.explainers.relevance.engine.forms import fast
from xai_sweep.explainers.relevance.engine.rules import Zero
from xai_sweep.models import Classifier

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
TARGETS = torch.tensor([[0, 3], [1, 2]])


def test_heatmaps_and_facts_are_those_of_the_engine() -> None:
    classifier = Classifier(network("in_place").double())
    explained = LRP().explain(classifier, IMAGES, TARGETS)
    found = relevance(classifier, IMAGES, TARGETS)
    torch.testing.assert_close(explained.heatmaps, found.maps.sum(dim=2))
    names = {"arrived": "relevance_ratio", "absorbed": "bias_share", "lost": "stabilizer_share"}
    for name, share in shares(found).items():
        torch.testing.assert_close(explained.facts[names[name]], share)


def test_the_map_of_a_layer_is_enlarged_to_the_image() -> None:
    classifier = Classifier(network("plain").double())
    heatmaps = LRP(layer="features.3").explain(classifier, IMAGES, TARGETS).heatmaps
    inner = relevance(classifier, IMAGES, TARGETS, layer="features.3").maps.sum(dim=2)
    assert inner.shape[-1] < 16
    expected = interpolate(inner, size=(16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(heatmaps, expected)


@dataclass(frozen=True)
class Leaking(Zero):
    """LRP-0 with a fast form that loses relevance without an account."""

    name: ClassVar[str] = "test_leaking"


@fast(Leaking)
class LeakingForm(ZeroForm):
    """A tenth less than there should be."""

    @override
    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        return 0.9 * super().send(shares, kept)


def with_first(rule: Rule) -> LRP:
    return LRP(rules=[{"position": "first", "rule": rule}, {"rule": "zero"}])


def test_relevance_that_is_lost_without_an_account_is_an_error() -> None:
    for network_ in (network("in_place"), network("in_place").double()):
        classifier = Classifier(network_)
        images = IMAGES.to(next(network_.parameters()).dtype)
        with_first(Zero()).explain(classifier, images, TARGETS)
        with pytest.raises(
            InputError, match=r"^explainer=lrp: loses relevance in InPlace: .*to 1;"
        ):
            with_first(Leaking()).explain(classifier, images, TARGETS)


class Cancelling(nn.Module):
    """A logit that is a small difference of large numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images).relu().mean((2, 3))
        return self.head(maps + 3e4 * maps) - self.head(3e4 * maps)


def test_rounding_alone_is_no_error() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = Classifier(Cancelling().eval())
    images, lrp = IMAGES.float(), with_first(Zero())
    whole = sum(shares(relevance(classifier, images, TARGETS, rules=[{"rule": "zero"}])).values())
    assert (whole - 1).abs().max() > 1e-4
    assert lrp.explain(classifier, images, TARGETS).heatmaps.isfinite().all()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_silent_layer_distributes_nothing(kind: torch.dtype) -> None:
    classifier = Classifier(network("plain").to(kind))
    for layer in ("features.0", "features.3"):
        nn.init.zeros_(classifier.module.get_submodule(layer).bias)
    images = IMAGES.to(kind)
    images[0] = 0
    epsilon = [{"rule": "epsilon", "epsilon": 0.25, "relative": True}]
    flat = [{"op": "linear", "rule": "flat"}, *epsilon]
    for rules in (epsilon, flat, LRP().rules):
        space = replace(classifier, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        explained = LRP(rules=rules).explain(space, images, TARGETS)
        assert (explained.heatmaps[0] == 0).all()
        assert (explained.heatmaps[1] != 0).any()
        total = sum(explained.facts[name] for name in explained.facts)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-4)
        slow = relevance(space, images, TARGETS, fast=False, rules=rules).maps.sum(dim=2)
        torch.testing.assert_close(explained.heatmaps, slow, rtol=1e-3, atol=1e-6)


class Exported(nn.Module):
    """A network that takes another path where it is exported."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.conv(images).mean((2, 3))
        return logits.relu() if torch.compiler.is_exporting() else logits


def test_a_graph_with_other_logits_is_refused() -> None:
    classifier = Classifier(Exported().eval())
    with pytest.raises(InputError, match=r"^explainer=lrp: computes logits from the graph of Exp"):
        LRP().prepare(classifier, IMAGES.float())


class Normalising(nn.Module):
    """A network that normalises its images itself."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.mean = nn.Buffer(torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))
        self.std = nn.Buffer(torch.tensor([0.2, 0.3, -0.1]).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        images = nn.functional.dropout(images, training=self.training)
        images = (images - self.mean) / self.std
        # As in torchvision's GoogLeNet: channel by channel, which changes nothing here.
        return self.net(torch.cat([(2 * images[:, i, None] + 0.0) / 2 for i in range(3)], 1))


@pytest.mark.parametrize("first", ["z_box", "w_square", "flat"])
def test_normalisation_in_the_network_is_normalisation_before_it(first: str) -> None:
    net = network("plain").double()
    inner = Normalising(net).double().eval()
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    rules = [
        {"position": "first", "rule": first},
        {"op": "conv", "rule": "gamma"},
        {"rule": "zero"},
    ]
    raw = Classifier(inner, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    found = LRP(rules=rules).explain(raw, pixels, TARGETS)
    mean, std = inner.mean.flatten().tolist(), inner.std.flatten().tolist()
    # A negative scale makes white the smallest value, which no normalisation before a network does.
    bounds = [Tensor([(end - m) / s for m, s in zip(mean, std, strict=True)]) for end in (0.0, 1.0)]
    low, high = torch.minimum(*bounds), torch.maximum(*bounds)
    before = Classifier(
        net, mean=tuple((-low / (high - low)).tolist()), std=tuple((1 / (high - low)).tolist())
    )
    normalised = (pixels - inner.mean) / inner.std
    expected = LRP(rules=rules).explain(before, normalised, TARGETS)
    torch.testing.assert_close(found.heatmaps, expected.heatmaps, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(found.facts, expected.facts, rtol=1e-5, atol=1e-8)


def test_rules_that_count_values_see_the_mean_as_a_constant() -> None:
    classifier = Classifier(Normalising(network("plain")).double().eval())
    found = relevance(classifier, IMAGES, TARGETS, rules=[{"rule": "zero"}]).maps.sum(2)
    pixels = IMAGES.clone().requires_grad_()
    for rank in range(2):
        logits = classifier.module(pixels).gather(1, TARGETS)
        (gradient,) = torch.autograd.grad(logits[:, rank].sum(), pixels)
        torch.testing.assert_close(found[:, rank], (IMAGES * gradient).sum(1))

"""Passes through a network that estimate patterns, measure them, or replace weights by them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine import Plan, Propagation, Site
from xai_sweep.explainers.relevance.engine.fast import FactorForm, Factors, ZeroForm
from xai_sweep.explainers.relevance.engine.forms import fast
from xai_sweep.explainers.relevance.engine.layers import layout
from xai_sweep.explainers.relevance.engine.rules import Zero
from xai_sweep.explainers.relevance.engine.steps import Layer
from xai_sweep.explainers.relevance.patterns import Estimator, Moments


@dataclass(frozen=True)
class _Observed(Zero):
    """Adds every input and output of the layer to its sums; propagates nothing."""

    moments: Moments | None = None


@fast(_Observed)
class _ObservedForm(FactorForm):
    def __init__(self, rule: _Observed, site: Site) -> None:
        super().__init__(site)
        self.moments = rule.moments

    def factors(self, a: Tensor, z: Tensor, numerator: Tensor | None, accounts: bool) -> Factors:
        assert self.moments is not None
        self.moments.add(a, z)
        return Factors((None,))

    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        raise AssertionError("a fit only runs forward")


@dataclass(frozen=True)
class _Replaced(Zero):
    """The gradient, propagated back with other weights."""

    weight: Tensor | None = None


@fast(_Replaced)
class _ReplacedForm(ZeroForm):
    def __init__(self, rule: _Replaced, site: Site) -> None:
        super().__init__(rule, site)
        assert rule.weight is not None
        self.weight = rule.weight

    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        return self.layer.transpose(shares[0], self.weight, self.site.size)


@dataclass(frozen=True)
class _Measured(_Replaced):
    """Propagates back with other weights, divided by their growth, which it records."""

    growth: dict[str, float] = field(default_factory=dict)
    key: str = ""


@fast(_Measured)
class _MeasuredForm(_ReplacedForm):
    def __init__(self, rule: _Measured, site: Site) -> None:
        super().__init__(rule, site)
        self.rule = rule

    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        moved = super().send(shares, kept)
        sizes = [float(part.double().square().mean().sqrt()) for part in (moved, shares[0])]
        growth = sizes[0] / sizes[1] if all(sizes) else 1.0
        self.rule.growth[self.rule.key] = growth
        return moved / growth


def layers(plan: Plan) -> dict[str, Layer]:
    """The layers that have a pattern, by position and path, whatever the size of the images."""
    found = [step for step in plan.steps if isinstance(step, Layer)]
    return {f"{number:03d} {layer.path}".strip(): layer for number, layer in enumerate(found)}


def estimate(
    plan: Plan, batches: Iterable[Float[Tensor, "_ c h w"]], estimator: Estimator
) -> tuple[dict[str, Tensor], int]:
    """Patterns of all layers, from one pass over images, and how many images there were.

    Args:
        plan: for images of this shape; its rules do not matter.
        batches: the images, at least one.
        estimator: ``linear``, or ``two_component``, which is also linear where no ReLU follows.
    """
    sums = {
        name: Moments(layer.site.layer, layer.site.rectified and estimator == "two_component")
        for name, layer in layers(plan).items()
    }
    watching = with_layers(plan, {name: _Observed(moments=each) for name, each in sums.items()})
    propagation = Propagation(watching)
    count = 0
    with torch.no_grad():
        for images in batches:
            propagation.forward(images)
            count += len(images)
    return {name: moments.pattern() for name, moments in sums.items()}, count


def measured(
    plan: Plan, tensors: Mapping[str, Tensor], images: Float[Tensor, "b c h w"]
) -> dict[str, float]:
    """How much each layer's patterns enlarge what goes back from each image's best class."""
    found: dict[str, float] = dict.fromkeys(tensors, 1.0)
    rules = {
        name: _Measured(weight=tensor, growth=found, key=name) for name, tensor in tensors.items()
    }
    propagation = Propagation(with_layers(plan, rules))
    best = propagation.logits(images).argmax(dim=1, keepdim=True)
    propagation(images, best, times_input=False)
    return found


def through(plan: Plan, weights: Mapping[str, Tensor]) -> Propagation:
    """The gradient of a network, propagated back with these weights in place of its own.

    Raises:
        InputError: they belong to another network.
    """
    own = {name: layer.site.layer.weight for name, layer in layers(plan).items()}
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    if shapes != {name: weight.shape for name, weight in own.items()}:
        raise InputError(
            "explainer.patterns",
            f"{len(weights)} layers",
            "are of another network; null fits them to this one",
        )
    rules = {
        name: _Replaced(weight=tensor.to(own[name]).contiguous(memory_format=layout(own[name])))
        for name, tensor in weights.items()
    }
    return Propagation(with_layers(plan, rules))


def with_layers(plan: Plan, rules: Mapping[str, Zero]) -> Plan:
    """The plan with these rules at its layers."""
    chosen = {layer.node: rules[name] for name, layer in layers(plan).items()}
    steps = [
        replace(step, chosen=chosen[step.node]) if isinstance(step, Layer) else step
        for step in plan.steps
    ]
    return Plan(plan.flow, tuple(steps))

"""Every fast form gives the numbers of its rule's equation, at layers of every kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import pytest
import torch
from annotated_types import Ge
from networks import network
from relevance import relevance
from torch import Tensor, fx
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.explainers import LRP
from xai_sweep.explainers.relevance.engine import Relevance, Rule, Shares, Site, distribute
from xai_sweep.explainers.relevance.engine.forms import Equation, fast, form_class
from xai_sweep.explainers.relevance.engine.layers import Affine, Conv, Linear, Scale
from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.rule import rules
from xai_sweep.explainers.relevance.engine.rules import Zero
from xai_sweep.explainers.relevance.engine.steps import Layer
from xai_sweep.models import Classifier

CHANNELS, SIZE = 4, (4, 7, 6)


def conv(shape: tuple[int, ...], *, stride=1, padding=0, dilation=1, groups=1, outer=(0,) * 4):
    def make(weight: Tensor, bias: Tensor | None) -> Conv:
        pairs = [each if isinstance(each, tuple) else (each,) * 2 for each in (stride, padding)]
        reach = dilation if isinstance(dilation, tuple) else (dilation,) * 2
        return Conv(weight, bias, *pairs, reach, groups, outer)

    return shape, make


LAYERS: dict[str, tuple[tuple[int, ...], Callable[[Tensor, Tensor | None], Affine]]] = {
    # Of 7 x 6 pixels a stride of 2 leaves the last column out.
    "stride": conv((5, 4, 3, 3), stride=2),
    "padding": conv((5, 4, 3, 3), padding=(2, 1)),
    "uneven padding": conv((5, 4, 3, 3), stride=2, outer=(0, 1, 2, 1)),
    "dilation": conv((5, 4, 3, 3), dilation=(2, 1)),
    "groups": conv((6, 2, 3, 3), padding=1, groups=2),
    "depthwise": conv((8, 1, 3, 3), groups=4),
    "asymmetric": conv((5, 4, 1, 3), stride=(2, 1), padding=(0, 1)),
    "linear": ((9, 4), Linear),
    "batchnorm": ((4,), Scale),
}
# Every parameter also away from its default.
VARIANTS: dict[str, list[Mapping[str, Any]]] = {
    "zero": [{}, {"bias": False}],
    "epsilon": [
        {"epsilon": 0.1},
        {"epsilon": 0.1, "bias": False},
        {"epsilon": 0.25, "relative": True},
        {"epsilon": 0.25, "relative": True, "bias": False},
    ],
    "gamma": [{}, {"gamma": 2.0, "stabilizer": 0.1}, {"gamma": 0.0}, {"bias": False}],
    "alpha_beta": [
        {},
        {"alpha": 1.0, "beta": 0.0},
        {"alpha": 3.0, "beta": 2.0, "stabilizer": 0.1},
        {"bias": False},
    ],
    "z_plus": [{}, {"stabilizer": 0.1}, {"bias": False}],
    "z_box": [{}, {"stabilizer": 0.1}],
    "w_square": [{}, {"bias": True}, {"bias": True, "stabilizer": 0.1}],
    "flat": [{}, {"stabilizer": 0.1}],
    "pass": [{}],
    "abs_z": [{}],
}


class Activation(NamedTuple):
    function: Callable[[Tensor], Tensor] | None
    rectified: bool = False
    is_relu: bool = False


ACTIVATIONS = {
    "none": Activation(None),
    "relu": Activation(torch.relu, rectified=True, is_relu=True),
    "relu6": Activation(torch.nn.functional.relu6, rectified=True),
    "silu": Activation(torch.nn.functional.silu),
}
NODE = fx.Graph().placeholder("input")


class Found(NamedTuple):
    """Relevance of the inputs, and per image that of the bias and of nothing."""

    inputs: Tensor
    absorbed: Tensor
    lost: Tensor


def some(*shape: int, seed: int, kind: torch.dtype = torch.float64) -> Tensor:
    """Normal numbers that are exact in single precision."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(kind)


def site_of(
    name: str, bias: bool, nonnegative: bool, activation: Activation, kind: torch.dtype
) -> Site:
    shape, make = LAYERS[name]
    weight, own_bias = (
        0.5 * some(*shape, seed=0, kind=kind),
        0.5 * some(shape[0], seed=1, kind=kind),
    )
    # One output has no contributions, so that its relevance is lost.
    weight[0], own_bias[0] = 0, 0
    return Site(
        make(weight, own_bias if bias else None),
        (CHANNELS,) if name == "linear" else SIZE,
        reads_pixels=not nonnegative,
        nonnegative=nonnegative,
        rectified=activation.rectified,
        bounds=(torch.full((CHANNELS,), -5.0).to(kind), torch.full((CHANNELS,), 4.0).to(kind)),
    )


def inputs_of(site: Site, noise: float) -> Tensor:
    """Of three images; each value is changed by so much of its size."""
    kind = site.layer.weight.dtype
    a = some(3, *site.size, seed=2, kind=kind)
    a = a.abs() if site.nonnegative else a
    return a * (1 + noise * some(*a.shape, seed=3, kind=kind))


def run(
    rule: Rule, site: Site, activation: Activation, as_relevance: bool, use: str, noise: float = 0.0
) -> Found:
    a = inputs_of(site, noise)
    step = Layer(
        node=NODE,
        args=(NODE,),
        site=site,
        chosen=rule,
        fast=use == "fast form",
        activation=activation.function,
        is_relu=activation.is_relu,
        takes_relevance=as_relevance,
    )
    value, kept = step.forward((a,), {}, accounts=True)
    message = Message(some(*value.shape, seed=4, kind=a.dtype), is_relevance=as_relevance)
    ledger = Ledger(torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    (sent,) = step.backward(message, kept, ledger)
    return Found(sent.as_relevance(a).values, ledger.absorbed, ledger.lost)


def distance(found: Found, expected: Found) -> float:
    """The largest difference, in units of the largest relevance."""
    largest = max(float(part.abs().max()) for part in expected)
    pairs = zip(found, expected, strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs) / largest


def test_every_rule_of_the_package_is_compared() -> None:
    quick = [name for name, rule in rules().items() if _is_ours(rule)]
    assert quick == [*VARIANTS]
    assert not any(form_class(rules()[name]()) is Equation for name in quick)


def _is_ours(rule: type[Rule]) -> bool:
    return rule.__module__ == Zero.__module__


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", VARIANTS)
def test_the_fast_form_is_the_equation(name: str, kind: str, activation: str, bias: bool) -> None:
    compared = 0
    for variant in VARIANTS[name]:
        rule = rules()[name](**variant)
        for nonnegative in (False, True):
            if rule.refusal(site_of(kind, bias, nonnegative, ACTIVATIONS["none"], torch.float64)):
                continue
            # Relevance in the form R passes an activation as it is, so one of them is enough.
            for as_relevance in (False, True) if activation == "none" else (False,):
                compare(rule, (kind, bias, nonnegative), ACTIVATIONS[activation], as_relevance)
                compared += 1
    assert compared or name in ("pass", "abs_z")


def compare(
    rule: Rule, place: tuple[str, bool, bool], activation: Activation, as_relevance: bool
) -> None:
    site = site_of(*place, activation, torch.float64)
    expected = run(rule, site, activation, as_relevance, "equation")
    assert distance(run(rule, site, activation, as_relevance, "fast form"), expected) < 1e-9
    # Small denominators enlarge rounding, that of the inputs too: no arithmetic can do better.
    eps = torch.finfo(torch.float32).eps
    nearby = run(rule, site, activation, as_relevance, "equation", noise=eps)
    single = site_of(*place, activation, torch.float32)
    quick, equation = (
        run(rule, single, activation, as_relevance, use) for use in ("fast form", "equation")
    )
    allowed = 10 * max(distance(nearby, expected), distance(equation, expected), eps)
    assert distance(quick, expected) < allowed


@dataclass(frozen=True)
class Blended(Rule):
    """Nothing but its equation: ``z_jk = max(0, a_j w_jk) + weight a_j w_jk``."""

    weight: Annotated[float, Ge(0)]

    name: ClassVar[str] = "test_blended"
    source: ClassVar[str] = "this test"

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        z = site.contributions(a)
        return distribute(relevance, z.positive() + self.weight * z)


@dataclass(frozen=True)
class Doubled(Zero):
    """Another equation than that of the class that it extends."""

    name: ClassVar[str] = "test_doubled"

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        shares = super().redistribute(relevance, a, site)
        return shares + shares


IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double()
TARGETS = torch.tensor([[0, 3], [2, 1]])


def explained(*given: Mapping[str, Any]) -> Relevance:
    classifier = Classifier(network("plain").double())
    return relevance(classifier, IMAGES, TARGETS, rules=[*given, {"rule": "zero"}])


def test_a_rule_works_by_its_equation_alone() -> None:
    first = {"op": "conv", "position": "first"}
    found = [explained({**first, "rule": "test_blended", "weight": w}) for w in (0.0, 1.0, 1e9)]
    z_plus, zero = explained({**first, "rule": "z_plus"}), explained()
    # The two limits of the equation are two rules of the package.
    torch.testing.assert_close(found[0].maps, z_plus.maps)
    assert (found[2].maps - zero.maps).abs().max() < 1e-4 * zero.maps.abs().max()
    assert not torch.allclose(found[1].maps, z_plus.maps, rtol=0.1)
    for each in found:
        assert each.absorbed is not None
        assert each.lost is not None
        whole = each.maps.sum(dim=(2, 3, 4)) + each.absorbed + each.lost
        torch.testing.assert_close(whole, each.logits)


def test_a_rule_may_be_given_as_an_object() -> None:
    named = explained({"op": "conv", "rule": "test_blended", "weight": 2})
    given = explained({"op": "conv", "rule": Blended(2.0)})
    assert torch.equal(named.maps, given.maps)


def test_a_subclass_with_another_equation_does_not_inherit_the_fast_form() -> None:
    layers = {"op": ["conv", "linear"]}
    found, zero = explained({**layers, "rule": "test_doubled"}), explained()
    # Three layers, each of which doubles.
    torch.testing.assert_close(found.maps, 8 * zero.maps)


def test_a_registered_form_is_used() -> None:
    @dataclass(frozen=True)
    class Other(Doubled):
        """Its form is not its equation, so that the result shows which was used."""

    fast(Other)(form_class(Zero()))
    found, zero = explained({"op": ["conv", "linear"], "rule": Other()}), explained()
    assert torch.equal(found.maps, zero.maps)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"rule": "test_blended", "weight": -1}, "weight=-1: must be a number of at least 0"),
        ({"rule": "test_blended"}, "weight=null: is needed by the rule test_blended"),
        ({"rule": Blended(2.0), "weight": 1}, "weight=1: unknown key; allowed: op, path, index, "),
    ],
    ids=["bounds", "missing", "twice"],
)
def test_its_parameters_are_checked_like_ours(entry: Mapping[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        LRP(rules=[entry])
    assert str(caught.value).startswith(f"explainer.rules[0].{line}")

"""Every fast form gives the numbers of its rule's equation, at layers of every kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest
import torch
from annotated_types import Ge
from relevance import propagation
from torch import Tensor, nn
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.explainers import LRP
from xai_sweep.explainers.relevance.engine import Relevance, Rule, Shares, Site, distribute
from xai_sweep.explainers.relevance.engine.forms import Equation, fast, form_class
from xai_sweep.explainers.relevance.engine.rule import rules
from xai_sweep.explainers.relevance.engine.rules import Zero
from xai_sweep.models import Classifier

Parameters = Mapping[str, Any]

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "stride": lambda **bias: nn.Conv2d(4, 5, 3, stride=2, padding=(2, 1), **bias),
    "dilation": lambda **bias: nn.Conv2d(4, 5, 3, dilation=(2, 1), **bias),
    "groups": lambda **bias: nn.Conv2d(4, 6, 3, padding=1, groups=2, **bias),
    "depthwise": lambda **bias: nn.Conv2d(4, 8, (1, 3), groups=4, **bias),
    "linear": lambda **bias: nn.Sequential(nn.Flatten(), nn.Linear(4 * 7 * 6, 9, **bias)),
}
# What stands before and after the layer: what it may assume about its inputs and its relevance.
PLACES: dict[str, tuple[list[nn.Module], list[nn.Module]]] = {
    "at the image": ([], []),
    "between rectifiers": ([nn.Conv2d(4, 4, 1), nn.ReLU()], [nn.ReLU()]),
    "signed inputs": ([nn.Conv2d(4, 4, 1), nn.Tanh()], [nn.ReLU6()]),
    "nonnegative inputs": ([nn.Conv2d(4, 4, 1), nn.ReLU()], [nn.SiLU()]),
}
# Every parameter away from its default, too.
VARIANTS: dict[str, list[Parameters]] = {
    "zero": [{}, {"bias": False}],
    "epsilon": [{"epsilon": 0.1}, {"relative": True, "epsilon": 0.25, "bias": False}],
    "gamma": [{}, {"gamma": 2.0, "stabilizer": 0.1}, {"bias": False}],
    "alpha_beta": [{}, {"alpha": 1.0, "beta": 0.0, "stabilizer": 0.1}, {"bias": False}],
    "z_plus": [{}, {"stabilizer": 0.1, "bias": False}],
    "z_box": [{}, {"stabilizer": 0.1}],
    "w_square": [{}, {"bias": True, "stabilizer": 0.1}],
    "flat": [{}, {"stabilizer": 0.1}],
    "pass": [{}],
    "abs_z": [{}],
}
FAST = [name for name, rule in rules().items() if form_class(rule()) is not Equation]
TARGETS = torch.tensor([[0, 3], [2, 1], [3, 3]])


def network(place: str, layer: nn.Module) -> nn.Sequential:
    """In float64, weights and biases of the same order."""
    before, after = PLACES[place]
    body = nn.Sequential(*before, layer, *after, nn.Flatten()).eval()
    width = body(torch.zeros(1, 4, 7, 6)).shape[1]
    net = nn.Sequential(*body, nn.Linear(width, 4)).eval().double()
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return net


def both(net: nn.Module, kind: torch.dtype, **parameters: Any) -> tuple[Relevance, Relevance]:
    """By fast forms, and by equations."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(3, 4, 7, 6, dtype=torch.float64, generator=generator).to(kind) * 2 - 1
    classifier = Classifier(net.to(kind), mean=(0.5,) * 4, std=(0.5,) * 4)
    found = [
        propagation(classifier, images, each, **parameters)(images, TARGETS, accounts=True)
        for each in (True, False)
    ]
    return found[0], found[1]


def distance(found: Relevance, expected: Relevance) -> float:
    """The largest difference, in units of the largest value of its kind."""

    def off(a: Tensor | None, b: Tensor | None) -> float:
        assert a is not None
        assert b is not None
        largest = max(float(expected.maps.abs().max()), float(expected.logits.abs().max()))
        return float((a.double() - b.double()).abs().max()) / largest

    pairs = (
        (found.maps, expected.maps),
        (found.absorbed, expected.absorbed),
        (found.lost, expected.lost),
    )
    return max(off(a, b) for a, b in pairs)


def test_every_rule_of_the_package_has_a_fast_form_and_is_compared_here() -> None:
    assert [*VARIANTS] == FAST


def compare(net: nn.Module, given: list[Parameters], **parameters: Any) -> None:
    quick, equation = both(net, torch.float64, rules=given, **parameters)
    assert equation.maps.abs().max() > 0
    assert distance(quick, equation) < 1e-10
    single, single_equation = both(net, torch.float32, rules=given, **parameters)
    # Where a denominator is small, rounding is enlarged, and no more than by the equation itself.
    rounding = distance(single_equation, equation)
    assert distance(single, equation) < max(1e-5, 10 * rounding)
    assert rounding < 1e-2


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in ("pass", "abs_z")])
def test_the_fast_form_is_the_equation(name: str, kind: str, place: str, bias: bool) -> None:
    if name == "z_box" and (place != "at the image" or kind == "linear"):
        pytest.skip("for the convolution at the image only")
    net = network(place, LAYERS[kind](bias=bias))
    at = len(PLACES[place][0])
    for variant in VARIANTS[name]:
        net = net.double()
        given = [{"rule": name, "index": f"[{at}:{at + 1}]", **variant}, {"rule": "zero"}]
        compare(net, given)


@pytest.mark.parametrize("strategy", ["abs_z", "epsilon", "identity"])
def test_at_batchnorms(strategy: str) -> None:
    layer = nn.Sequential(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5))
    net = network("between rectifiers", layer)
    norm = next(part for part in net.modules() if isinstance(part, nn.BatchNorm2d))
    generator = torch.Generator().manual_seed(3)
    norm.running_mean.normal_(std=0.3, generator=generator)
    norm.running_var.uniform_(0.5, 2, generator=generator)
    compare(net, [{"rule": "gamma"}], batchnorm=strategy)


@pytest.mark.parametrize("upper", ["zero", "gamma", "flat"])
@pytest.mark.parametrize("lower", [name for name in VARIANTS if name not in ("pass", "abs_z")])
def test_below_another_rule(lower: str, upper: str) -> None:
    """Relevance arrives as R below a rule that emits it so, and as c below the others."""
    layers = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1))
    net = network("at the image", layers)
    compare(net, [{"position": "first", "rule": lower}, {"rule": upper}])


@dataclass(frozen=True)
class Sharpened(Rule):
    """Nothing but its equation: ``z_jk = (a_j w_jk)^+ + power a_j w_jk``."""

    power: Annotated[float, Ge(0)]

    name: ClassVar[str] = "test_sharpened"
    source: ClassVar[str] = "this test"

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        z = site.contributions(a)
        return distribute(relevance, z.positive() + self.power * z)


@dataclass(frozen=True)
class Doubled(Zero):
    """Another equation than that of the class that it extends."""

    name: ClassVar[str] = "test_doubled"

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        return super().redistribute(2 * relevance, a, site)


def test_a_rule_works_by_its_equation_alone() -> None:
    net = network("between rectifiers", nn.Conv2d(4, 5, 3))
    ours = {"rule": "test_sharpened", "power": 1000.0, "index": "[2]"}
    near, _ = both(net, torch.float64, rules=[ours, {"rule": "zero"}])
    zero, _ = both(net, torch.float64, rules=[{"rule": "zero"}])
    other, _ = both(net, torch.float64, rules=[{**ours, "power": 0.0}, {"rule": "zero"}])
    plus, _ = both(net, torch.float64, rules=[{"rule": "z_plus", "index": "[2]"}, {"rule": "zero"}])
    # The two limits of the equation are two rules of the package.
    assert distance(other, plus) < 1e-10
    assert 1e-10 < distance(near, zero) < 0.1 * distance(plus, zero)
    # What does not arrive is accounted for.
    for found in (near, other):
        whole = found.maps.sum(dim=(2, 3, 4)) + found.absorbed + found.lost
        torch.testing.assert_close(whole, found.logits)


def test_a_rule_may_be_given_as_an_object() -> None:
    net = network("between rectifiers", nn.Conv2d(4, 5, 3))
    named, _ = both(
        net, torch.float64, rules=[{"rule": "test_sharpened", "power": 2}, {"rule": "zero"}]
    )
    given, _ = both(net, torch.float64, rules=[{"rule": Sharpened(2.0)}, {"rule": "zero"}])
    assert torch.equal(named.maps, given.maps)


def test_a_subclass_with_another_equation_does_not_inherit_the_fast_form() -> None:
    net = network("between rectifiers", nn.Conv2d(4, 5, 3))
    zero, _ = both(net, torch.float64, rules=[{"rule": "zero"}])
    found, _ = both(net, torch.float64, rules=[{"rule": "test_doubled"}])
    # Three layers, each of which doubles.
    torch.testing.assert_close(found.maps, 8 * zero.maps)


def test_a_registered_form_is_used() -> None:
    @dataclass(frozen=True)
    class Other(Doubled):
        """Its form is not its equation, so that the results show which was used."""

    fast(Other)(form_class(Zero()))
    net = network("at the image", nn.Conv2d(4, 5, 3))
    quick, equation = both(net, torch.float64, rules=[{"rule": Other()}])
    torch.testing.assert_close(4 * quick.maps, equation.maps)


def test_parameters_of_such_a_rule_are_checked_as_ours_are() -> None:
    line = r"^explainer\.rules\[0\]\.power=-1: must be a number of at least 0$"
    with pytest.raises(InputError, match=line):
        LRP(rules=[{"rule": "test_sharpened", "power": -1}])
    line = r"^explainer\.rules\[0\]\.power=null: is needed by the rule test_sharpened$"
    with pytest.raises(InputError, match=line):
        LRP(rules=[{"rule": "test_sharpened"}])
    line = r"^explainer\.rules\[0\]\.power=1: unknown key; "
    with pytest.raises(InputError, match=line):
        LRP(rules=[{"rule": Sharpened(2.0), "power": 1}])

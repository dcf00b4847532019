"""Which nodes relevance reaches, which signs are proved, and what is refused by its name."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from networks import network
from operation_networks import Applied
from relevance import propagation, relevance, shares
from torch import Tensor, fx, nn

from xai_sweep.config.presets import preset
from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine.flow import Flow
from xai_sweep.graphs.capture import capture
from xai_sweep.models import Classifier

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
TARGETS = torch.tensor([[0], [2]])


class Around(nn.Module):
    """Two convolutions around a function of a map of four channels and a 4 x 4 constant."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.between = Applied(function)
        self.head = nn.Conv2d(4, 3, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.between(self.stem(images))).mean((2, 3))


def around(function: Callable[[Tensor, Tensor], Tensor]) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Classifier(Around(function).double().eval())


def is_proved(function: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Whether the function's value is proved to be at least zero."""
    captured = capture(around(function), IMAGES)
    flow = Flow(captured, None, allows_gradient=True)
    convolutions = [node for node in flow.nodes if node.target is torch.ops.aten.conv2d.default]
    before = convolutions[-1].args[0]
    assert isinstance(before, fx.Node)
    return before in flow.nonnegative


PROVED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda x, _: x.relu(),
    "piece of a rectified map": lambda x, _: torch.cat(x.relu().chunk(2, 1), 1),
    "clamp": lambda x, _: x.clamp(min=0),
    "clamp of a rectified map": lambda x, _: x.relu().clamp(-1, 3),
    "hardtanh": lambda x, _: F.hardtanh(x, 0, 6),
    "square": lambda x, _: x * x,
    "even power": lambda x, _: x**2,
    "sum with a number": lambda x, _: x.relu() + 1,
    "product of two": lambda x, _: x.relu() * x.sigmoid(),
    "positive constant": lambda x, k: x.relu() * k.abs()[0].view(4, 1, 1),
    "padding": lambda x, _: F.pad(x.relu(), (1, 1), value=2),
    "reflected": lambda x, _: F.pad(x.abs(), (1, 1, 1, 1), mode="reflect"),
    "maximum": lambda x, _: torch.maximum(x, x.relu()),
    "maxima": lambda x, _: x.relu().max(1, keepdim=True)[0].expand_as(x),
    "pool": lambda x, _: F.max_pool2d(x.exp(), 3, 1, 1),
    "softmax": lambda x, _: x.softmax(1),
}
NOT_PROVED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "piece": lambda x, _: torch.cat(x.chunk(2, 1), 1),
    "split": lambda x, _: torch.cat(x.split([1, 3], 1), 1),
    "unbind": lambda x, _: torch.stack(x.unbind(1), 1),
    "stack": lambda x, _: torch.stack([x.relu(), x], 1).sum(1),
    "difference": lambda x, _: x.relu() - x.sigmoid(),
    "negative alpha": lambda x, _: torch.add(x.relu(), x.relu(), alpha=-1),
    "sum with a number": lambda x, _: x.relu() - 1,
    "constant": lambda x, k: x.relu() * k[0].view(4, 1, 1),
    "one of two": lambda x, _: x.relu() + x,
    "padding": lambda x, _: F.pad(x.relu(), (1, 1), value=-2.0),
    "clamp": lambda x, _: x.clamp(min=-1),
    "clamp above": lambda x, _: x.relu().clamp(max=-0.5),
    "hardtanh": lambda x, _: F.hardtanh(x),
    "leaky": lambda x, _: F.leaky_relu(x),
    "odd power": lambda x, _: x**3,
    "bicubic": lambda x, _: F.interpolate(x.relu(), 16, mode="bicubic"),
    "average with a divisor": lambda x, _: F.avg_pool2d(x.relu(), 3, 1, 1, divisor_override=-9),
    "maxima": lambda x, _: x.max(1, keepdim=True)[0].expand_as(x),
    "norm": lambda x, _: F.layer_norm(x.relu(), (16,)),
}


@pytest.mark.parametrize("function", PROVED.values(), ids=PROVED)
def test_a_sign_that_is_proved(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert is_proved(function)


@pytest.mark.parametrize("function", NOT_PROVED.values(), ids=NOT_PROVED)
def test_a_sign_that_cannot_be_proved(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert not is_proved(function)


@pytest.mark.parametrize("rules", ["default", "epsilon_plus", "epsilon_alpha2_beta1"])
def test_pieces_of_a_signed_map_are_slices(rules: str) -> None:
    def halves(x: Tensor, how: str) -> Sequence[Tensor]:
        x = F.silu(x)
        return x.chunk(2, 1) if how == "chunk" else (x[:, :2], x[:, 2:])

    maps = []
    for how in ("chunk", "slices"):
        net = around(lambda x, _, how=how: torch.cat([F.silu(each) for each in halves(x, how)], 1))
        maps.append(relevance(net, IMAGES, TARGETS, rules=preset(rules)).maps)
    assert torch.equal(*maps)


REFUSED: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str]] = {
    "softmax": (
        lambda x, _: x + x.softmax(1),
        r"between \(aten\.softmax\.int\): there is no rule for it",
    ),
    "divisor": (
        lambda x, _: x + 1 / (x.relu() + 2),
        r"between \(aten\.reciprocal\.default\): there is no rule for it",
    ),
    "mask": (
        lambda x, _: x + (x > 0),
        r"between \(aten\.add\.Tensor\): it reads a comparison or a position",
    ),
    "deviation": (
        lambda x, _: x + torch.std_mean(x, 1, keepdim=True)[0],
        r"between \(aten\.std_mean\.dim\): there is no rule for it",
    ),
    "no rule": (lambda x, _: x.cumprod(1), r"between \(aten\.cumprod\.default\): there is no rule"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_rule_is_named_and_passed_on_request(case: str) -> None:
    function, line = REFUSED[case]
    with pytest.raises(InputError, match=rf"^explainer=lrp: cannot pass {line}"):
        propagation(around(function), IMAGES)
    zero = [{"rule": "zero"}]
    net = around(function)
    found = relevance(net, IMAGES, TARGETS, rules=zero, unsupported="gradient")
    pixels = IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net.module(pixels).gather(1, TARGETS).sum(), pixels)
    torch.testing.assert_close(found.maps[:, 0], pixels.detach() * gradient)
    whole = sum(shares(found).values())
    torch.testing.assert_close(whole, torch.ones(2, 1).double(), rtol=0, atol=1e-6)


def _deviation(x: Tensor) -> Tensor:
    rows = x.reshape(len(x), 2, -1)
    return (rows.var(2, unbiased=False) + 1e-5).sqrt().repeat_interleave(2, 1)[:, :, None, None]


def _centred(x: Tensor) -> Tensor:
    rows = x.reshape(len(x), 2, -1)
    return (rows - rows.mean(2, keepdim=True)).reshape(x.shape)


# An operation, and one with the same value whose gradient is the operation's rule.
RULES_OF_OPERATIONS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[..., Tensor]]] = {
    "two branches share": (
        lambda x, _: x * F.silu(x.flip(1)),
        lambda x, _: (x * _own(x.flip(1)).detach() + x.detach() * _own(x.flip(1))) / 2,
    ),
    "a divisor is constant": (
        lambda x, _: x / (x.abs().mean(1, keepdim=True) + 1),
        lambda x, _: x / (x.abs().mean(1, keepdim=True) + 1).detach(),
    ),
    "a length is constant": (
        lambda x, _: F.normalize(x, dim=1),
        lambda x, _: x / x.norm(dim=1, keepdim=True).detach(),
    ),
    "a deviation is constant": (
        lambda x, k: F.group_norm(x, 2, k[0].flatten()[:4], k[0].flatten()[:4]),
        lambda x, k: (
            _centred(x) / _deviation(x).detach() * k[0].flatten()[:4].view(4, 1, 1)
            + k[0].flatten()[:4].view(4, 1, 1)
        ),
    ),
    "attention is constant": (
        lambda x, _: F.scaled_dot_product_attention(x, x, x) + (x @ x.mT).softmax(-1) @ x,
        lambda x, _: (x @ x.mT / 4).softmax(-1).detach() @ x + (x @ x.mT).softmax(-1).detach() @ x,
    ),
    "a variance is of degree two": (
        lambda x, _: x + x.var(1, keepdim=True),
        lambda x, _: x + x.var(1, keepdim=True) / 2 + x.var(1, keepdim=True).detach() / 2,
    ),
}


def _own(x: Tensor) -> Tensor:
    """SiLU as a constant factor."""
    return x * torch.sigmoid(x).detach()


@pytest.mark.parametrize("case", RULES_OF_OPERATIONS)
def test_what_counts_as_constant(case: str) -> None:
    function, linear = RULES_OF_OPERATIONS[case]
    found = relevance(around(function), IMAGES, TARGETS, rules=[{"rule": "zero"}])
    pixels = IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        around(linear).module(pixels).gather(1, TARGETS).sum(), pixels
    )
    torch.testing.assert_close(found.maps[:, 0], pixels.detach() * gradient)
    whole = sum(shares(found).values())
    torch.testing.assert_close(whole, torch.ones_like(whole), rtol=0, atol=1e-6)


def test_pixels_that_only_move_have_the_bounds_of_pixels() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(12, 4, 3, padding=1), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.stem(F.pixel_unshuffle(x, 2)).relu().mean((2, 3)))

    class Strided(Deep):
        def forward(self, x: Tensor) -> Tensor:
            weight = F.pixel_shuffle(self.stem.weight, 2)
            x = F.conv2d(x, weight, self.stem.bias, stride=2, padding=2)
            return self.head(x.relu().mean((2, 3)))

    nets = [Deep().double(), Strided().double()]
    nets[1].load_state_dict(nets[0].state_dict())
    rules = [{"rule": "z_box", "position": "first"}, {"rule": "zero"}]
    maps = [relevance(Classifier(net), IMAGES, TARGETS, rules=rules).maps for net in nets]
    torch.testing.assert_close(*maps)


@pytest.mark.parametrize("rules", ["default", "epsilon_plus_flat", "deep_taylor"])
@pytest.mark.parametrize("layer", ["features.0", "features.3"])
def test_a_map_at_a_layer_is_what_passes_there(layer: str, rules: str) -> None:
    net = Classifier(network("plain").double())
    explain = partial(relevance, net, IMAGES, TARGETS, rules=preset(rules))
    whole, inner = propagation(net, IMAGES, rules=preset(rules)), explain(layer=layer)
    at = {(step.path, step.op): step.rule for step in whole.plan.steps}
    for step in propagation(net, IMAGES, rules=preset(rules), layer=layer).plan.steps:
        # An activation is a step of its own where its layer is not.
        assert not step.inputs or step.op == "activation" or step.rule == at[step.path, step.op]
    parts = shares(inner)
    torch.testing.assert_close(sum(parts.values()), torch.ones(2, 1).double())


def test_what_goes_round_the_layer_is_lost_to_it() -> None:
    net = Classifier(network("in_place").double())
    found = relevance(net, IMAGES, TARGETS, rules=[{"rule": "zero"}], layer="block")
    parts = shares(found)
    assert (parts["lost"].abs() > 1e-3).all()
    torch.testing.assert_close(sum(parts.values()), torch.ones(2, 1).double())

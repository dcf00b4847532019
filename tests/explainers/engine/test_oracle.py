"""The oracle's sums agree with zennit, an implementation that shares nothing with them."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import zennit.rules as peers
from oracles.lrp import affine, shares
from torch import Tensor, nn
from zennit.core import BasicHook

Rule = Mapping[str, Any]

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv2d(4, 5, 3, stride=2, padding=(2, 1)),
    "groups": lambda: nn.Conv2d(4, 6, (1, 3), dilation=2, groups=2),
    "no bias": lambda: nn.Conv2d(4, 5, 3, bias=False),
    "linear": lambda: nn.Linear(6, 5),
}
# zennit's rules always have a stabiliser, and those of weights alone count the bias differently.
S, NO_BIAS = {"stabilizer": 1e-3}, {"zero_params": "bias"}
PEERS: list[tuple[Rule, Callable[[], BasicHook]]] = [
    ({"rule": "epsilon", "epsilon": 0.1}, lambda: peers.Epsilon(0.1)),
    (
        {"rule": "epsilon", "epsilon": 0.1, "bias": False},
        lambda: peers.Epsilon(0.1, **NO_BIAS),
    ),
    ({"rule": "gamma", **S}, lambda: peers.Gamma(0.25, **S)),
    ({"rule": "alpha_beta", **S}, lambda: peers.AlphaBeta(2.0, 1.0, **S)),
    (
        {"rule": "alpha_beta", **S, "bias": False},
        lambda: peers.AlphaBeta(2.0, 1.0, **S, **NO_BIAS),
    ),
    ({"rule": "z_plus", **S}, lambda: peers.ZPlus(**S)),
    ({"rule": "z_box", "low": -1.0, "high": 2.0, **S}, lambda: peers.ZBox(-1.0, 2.0, **S)),
    ({"rule": "w_square", "bias": True, **S}, lambda: peers.WSquare(**S)),
    ({"rule": "w_square", **S}, lambda: peers.WSquare(**S, **NO_BIAS)),
    ({"rule": "flat", **S}, lambda: peers.Flat(**S)),
]


@pytest.mark.parametrize("case", PEERS, ids=lambda case: " ".join(map(str, case[0].values())))
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "rectified"])
@pytest.mark.parametrize("kind", LAYERS)
def test_zennit_gives_the_same(
    kind: str, signed: bool, case: tuple[Rule, Callable[[], BasicHook]]
) -> None:
    rule, hook = dict(case[0]), case[1]()
    layer, generator = LAYERS[kind]().double(), torch.Generator().manual_seed(0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    a = torch.rand(1, 4, 7, 6, dtype=torch.float64, generator=generator) - 0.4 * signed
    if rule["rule"] == "z_box":
        rule |= {edge: torch.full((a.numel(),), rule[edge]).double() for edge in ("low", "high")}
    ours, theirs = both(rule, hook, layer, a, generator)
    assert (ours - theirs).abs().max() <= 1e-9 * ours.abs().max()


def both(
    rule: Rule, hook: BasicHook, layer: nn.Module, a: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """For random relevance of both signs."""
    handles = hook.register(layer)
    try:
        inputs = a.clone().requires_grad_()
        output = layer(inputs)
        relevance = torch.empty_like(output).normal_(generator=generator).detach()
        (theirs,) = torch.autograd.grad(output, inputs, relevance)
    finally:
        handles.remove()
    w, b = affine(layer, tuple(a.shape[1:]))
    return shares(rule, a.flatten(), w, b, relevance.flatten()).inputs, theirs.flatten()

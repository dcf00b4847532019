"""Layer-wise relevance propagation by its sums, with one number per pair of neurons.

One image at a time, in float64: ``a`` is the layer's input ``[J]``, ``w`` its weight between every
input and every output ``[J, K]``, ``b`` its bias ``[K]``, all zero where the layer has none. A rule
defines what input j and the bias contribute to output k, and so which part of ``R_k`` they get.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

# A factor, the contributions z_jk [J, K], and the bias' contributions [K].
Part = tuple[float, Tensor, Tensor]


@dataclass(frozen=True)
class Shares:
    """How much of the relevance the inputs get ``[J]``, the bias gets, and is lost."""

    inputs: Tensor
    bias: float
    lost: float


def zero(a: Tensor, w: Tensor, b: Tensor) -> list[Part]:
    """Bach et al. 2015, eq. 56; epsilon (eq. 58) differs in the denominator."""
    return [(1.0, a[:, None] * w, b)]


def gamma(a: Tensor, w: Tensor, b: Tensor, gamma: float = 0.25) -> list[Part]:
    """Andeol et al. 2021: contributions with the sign of the output count more."""
    z = a[:, None] * w
    out = z.sum(0) + b

    def counted(part: Tensor) -> Tensor:
        above = (part + gamma * part.clamp(min=0)) * (out > 0)
        below = (part + gamma * part.clamp(max=0)) * (out < 0)
        return above + below

    return [(1.0, counted(z), counted(b))]


def alpha_beta(
    a: Tensor, w: Tensor, b: Tensor, alpha: float = 2.0, beta: float = 1.0
) -> list[Part]:
    """Bach et al. 2015, eq. 60, where beta is negative."""
    z = a[:, None] * w
    return [
        (alpha, z.clamp(min=0), b.clamp(min=0)),
        (-beta, z.clamp(max=0), b.clamp(max=0)),
    ]


def z_plus(a: Tensor, w: Tensor, b: Tensor) -> list[Part]:
    """Montavon et al. 2017, section 4.1, and for inputs of both signs alpha 1, beta 0."""
    return [(1.0, (a[:, None] * w).clamp(min=0), b.clamp(min=0))]


def z_box(a: Tensor, w: Tensor, b: Tensor, low: Tensor, high: Tensor) -> list[Part]:
    """Montavon et al. 2017, section 4.1, with bounds ``[J]``; the bias takes no part."""
    box = low[:, None] * w.clamp(min=0) + high[:, None] * w.clamp(max=0)
    return [(1.0, a[:, None] * w - box, torch.zeros_like(b))]


def w_square(a: Tensor, w: Tensor, b: Tensor) -> list[Part]:
    """Montavon et al. 2017, section 4.1; with bias as in zennit."""
    return [(1.0, w**2, b**2)]


def flat(a: Tensor, w: Tensor, b: Tensor) -> list[Part]:
    """Lapuschkin et al. 2019: equal parts for all connected inputs; the bias takes none."""
    return [(1.0, (w != 0).to(w), torch.zeros_like(b))]


def abs_z(a: Tensor, w: Tensor, b: Tensor) -> list[Part]:
    """Hui and Binder 2019, for a batchnorm, as one factor and one bias per channel."""
    return [(1.0, (a[:, None] * w).abs(), b.abs())]


RULES: Mapping[str, Callable[..., list[Part]]] = {
    "zero": zero,
    "epsilon": zero,
    "gamma": gamma,
    "alpha_beta": alpha_beta,
    "z_plus": z_plus,
    "z_box": z_box,
    "w_square": w_square,
    "flat": flat,
    "abs_z": abs_z,
}
AFFINE = (nn.Conv2d, nn.Linear, nn.AvgPool2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Sequential)


def shares(rule: Mapping[str, Any], a: Tensor, w: Tensor, b: Tensor, relevance: Tensor) -> Shares:
    """``R_j = sum_k z_jk / d_k R_k``, with ``d_k`` the sum of all contributions to k.

    Args:
        rule: as in a list of rules: ``{"rule": "gamma", "gamma": 0.5, "bias": False}``.
        relevance: ``R_k`` ``[K]``.
    """
    rest = dict(rule)
    name = rest.pop("rule")
    bias = rest.pop("bias", name != "w_square")
    if not bias:  # then the rule is that of the layer without it
        b = torch.zeros_like(b)
    stabilizer = rest.pop("stabilizer", 0.0)
    if name == "epsilon":
        unit = (a @ w + b).abs().mean() if rest.pop("relative", False) else 1.0
        stabilizer = rest.pop("epsilon", 1e-6) * unit
    to_inputs, to_bias = torch.zeros_like(a), 0.0
    for factor, z, z_bias in RULES[name](a, w, b, **rest):
        d = z.sum(0) + z_bias
        d = torch.where(d < 0, d - stabilizer, d + stabilizer)
        per_unit = torch.where(d == 0, 0.0, relevance / d)
        to_inputs = to_inputs + factor * (z * per_unit).sum(1)
        to_bias += factor * float((z_bias * per_unit).sum())
    return Shares(to_inputs, to_bias, float(relevance.sum() - to_inputs.sum()) - to_bias)


def dense(layer: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """``w_jk`` and ``b_k`` of a layer that is affine, or is so near the input ``at`` ``[...]``."""
    jacobian = torch.autograd.functional.jacobian(lambda a: layer(a[None])[0], at)
    w = jacobian.reshape(-1, at.numel()).T
    return w, layer(at[None])[0].detach().flatten() - at.flatten() @ w


@lru_cache(maxsize=64)
def affine(layer: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """`dense` of a layer that is affine everywhere; cached, so its weights must not change."""
    return dense(layer, torch.zeros(shape, dtype=torch.float64))


@dataclass(frozen=True)
class Explanation:
    """A map of relevance ``[H, W]``, and how much of the logit went to biases and was lost."""

    heatmap: Tensor
    bias: float
    lost: float


def explain(
    layers: Sequence[nn.Module],
    rules: Mapping[int, Mapping[str, Any]],
    image: Tensor,
    target: int,
    bounds: tuple[Tensor, Tensor],
) -> Explanation:
    """A chain of layers from its logit back to the image ``[C, H, W]``.

    Affine layers follow the rule of their position, zero if there is none; a chain within the
    chain is one affine layer. A max pool gives all relevance to the maximum; any other layer
    passes it on as it is.

    Args:
        bounds: smallest and largest value of every channel, ``[C]`` each.
    """
    inputs = [image]
    for layer in layers:
        inputs.append(layer(inputs[-1][None])[0].detach())
    logits = inputs.pop()
    relevance = torch.zeros_like(logits)
    relevance[target] = logits[target]
    bias = lost = 0.0
    for position, layer in reversed(list(enumerate(layers))):
        a = inputs[position]
        if isinstance(layer, AFFINE):
            rule = dict(rules.get(position, {"rule": "zero"}))
            if rule["rule"] == "z_box":
                low, high = (edge[:, None, None].expand_as(a).flatten() for edge in bounds)
                rule |= {"low": low, "high": high}
            w, b = affine(layer, tuple(a.shape))
            got = shares(rule, a.flatten(), w, b, relevance)
            relevance, bias, lost = got.inputs, bias + got.bias, lost + got.lost
        elif isinstance(layer, nn.MaxPool2d):
            wins, _ = dense(layer, a)
            relevance = wins @ relevance
    return Explanation(relevance.view_as(image).sum(0), bias, lost)

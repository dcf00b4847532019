"""How the rules' equations are computed: their weights prepared once for each layer.

Nearly every rule has ``R_j = a_j c_j``. Those hand down ``c_j``, which saves a multiplication here
and a division a layer below; the others hand down ``R_j`` (`Rule.emits_relevance`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from xai_sweep.explainers.relevance.engine.layers import Affine


@dataclass(frozen=True, eq=False)
class Site:
    """Where a rule is applied.

    Attributes:
        layer: the layer.
        size: the layer's input, without the batch.
        nonnegative: no input is below zero, whatever the image.
        rectified: a neuron below zero never has relevance, because a ReLU follows.
        bounds: smallest and largest value of every input channel, for pixels.
    """

    layer: Affine
    size: tuple[int, ...]
    nonnegative: bool
    rectified: bool
    bounds: tuple[Float[Tensor, " c"], Float[Tensor, " c"]]

    def without_bias(self) -> "Site":
        """The same place for a rule in which the bias takes no part."""
        if self.layer.bias is None:
            return self
        # What a ReLU cuts depends on the bias, so it says nothing about the contributions' sum.
        return replace(self, layer=replace(self.layer, bias=None), rectified=False)


@dataclass(frozen=True, eq=False)
class Ways:
    """By which factors a neuron's relevance leaves it.

    Attributes:
        factors: for every way, what a message is multiplied by before it goes back through the
            weights; None for 1.
        tolls: for every way, what its denominator holds beside contributions and bias: a number,
            or ``[B, 1, ...]``. A share pays share times toll.
        lost: the part of a message that finds no way, if it was asked for and there is any.
        absorbed: the part of a message that the bias takes, where it is not share times bias.
    """

    factors: tuple[Tensor | None, ...]
    tolls: tuple[float | Tensor, ...] = (0.0,)
    lost: Tensor | None = None
    absorbed: Tensor | None = None


class Split(ABC):
    """A rule at its site.

    Relevance leaves a neuron by one way or two, as ``share_i = factor_i R / d_i``.

    Attributes:
        biases: one per way, what the bias contributes to its denominator; None for nothing.
    """

    biases: tuple[Tensor | None, ...] = (None,)

    def __init__(self, site: Site, stabilizer: float = 0.0) -> None:
        self.site = site
        self.layer = site.layer
        self.stabilizer = stabilizer

    @abstractmethod
    def ways(self, a: Tensor, z: Tensor, top: Tensor | None, accounts: bool) -> Ways:
        """The factors for one batch.

        Args:
            a: the layer's input ``[B, ...]``.
            z: the layer's sums, with its bias if it has one; not to be changed.
            top: by what messages are multiplied to become ``R``; None if they are ``R``.
            accounts: whether `Ways.lost` is wanted.
        """

    def keep(self, a: Tensor) -> Tensor | None:
        """What `back` will need of the input."""
        return None

    @abstractmethod
    def back(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        """From the shares to the layer's input: ``c_j``, or ``R_j`` where the rule says so."""


# Elementwise work costs as much as arithmetic on a CPU, where every new tensor is a page fault
# per 4 kB. Below, tensors that nobody needs any more are written over.


def over(top: Tensor | None, d: Tensor, factor: float = 1.0) -> Tensor:
    """``factor top / d`` written over d, which is not zero; no top stands for 1."""
    quotient = d.reciprocal_() if top is None else torch.div(top, d, out=d)
    return quotient if factor == 1 else quotient.mul_(factor)


def ratio(top: Tensor | None, d: Tensor) -> Tensor:
    """``top / d``, 0 where d is 0."""
    return over(top, d.masked_fill(d == 0, torch.inf))


def amount(stabilizer: float, relative: bool, z: Tensor) -> float | Tensor:
    """The stabiliser, or so many times the mean of ``|z|`` per image, ``[B, 1, ...]``."""
    if not relative:
        return stabilizer
    return stabilizer * z.abs().flatten(1).mean(dim=1).view(-1, *[1] * (z.dim() - 1))


def stabilised(d: Tensor, by: float | Tensor) -> Tensor:
    """A new tensor, moved away from zero."""
    number = by if isinstance(by, Tensor) else d.new_tensor(by)
    return torch.copysign(number, d).add_(d)


def may_be_zero(d: Tensor) -> bool:
    """Whether any value is zero; yes while a graph is recorded, which must hold for all values."""
    return get_proxy_mode() is not None or bool((d == 0).any())


def unaccounted(
    top: Tensor | None, way: Tensor, d: Tensor, stabilizer: float | Tensor
) -> Tensor | None:
    """What is left of a message's relevance when one way has been taken; None for nothing."""
    # A sum over all neurons per target is spared where no denominator is empty, which is usual.
    is_lossy = isinstance(stabilizer, Tensor) or stabilizer or may_be_zero(d)
    return (1 if top is None else top) - way * d if is_lossy else None


class Proportional(Split):
    """``R_j = sum_k a_j w_jk / (z_k + epsilon sign(z_k)) R_k``."""

    def __init__(self, site: Site, epsilon: float, relative: bool) -> None:
        super().__init__(site, epsilon)
        self.relative = relative
        self.biases = (site.layer.bias,)

    def ways(self, a: Tensor, z: Tensor, top: Tensor | None, accounts: bool) -> Ways:
        """See `Split.ways`."""
        by = amount(self.stabilizer, self.relative, z)
        if self.stabilizer and self.site.rectified and top is not None:
            return Ways((over(top, z.clamp(min=0).add_(by)),), (by,))
        way = over(top, stabilised(z, by)) if self.stabilizer else ratio(top, z)
        return Ways((way,), lost=unaccounted(top, way, z, by) if accounts else None)

    def back(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        """See `Split.back`."""
        return self.layer.transpose(shares[0], self.layer.weight, self.site.size)

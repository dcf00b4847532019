"""Contributions of a layer's inputs to its outputs: the terms in which the rules are written.

A neuron k distributes its relevance ``R_k`` among its inputs j in proportion to their contributions
``z_jk``. There are J x K of these, so they are never stored: `Contributions` holds them as sums of
products of an input and a weight, which a layer can add up (``z_k``) and send back (``R_j``).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from xai_sweep.explainers.relevance.engine.layers import Affine


@dataclass(frozen=True, eq=False)
class Contributions:
    """``z_jk = sum_i x_ij v_ijk``, and what the bias contributes to every output k.

    Attributes:
        layer: connects inputs to outputs.
        size: the shape of the layer's input without the batch.
        products: pairs of an input ``x_i`` and a weight ``v_i``, shaped as the layer's.
        bias: one number per output channel, or None.
    """

    layer: Affine
    size: tuple[int, ...]
    products: tuple[tuple[Tensor, Tensor], ...]
    bias: Float[Tensor, " k"] | None = None

    def total(self) -> Tensor:
        """``z_k``: the sum of all contributions to every output, the bias' included."""
        sums = sum(self.layer.apply(x, v) for x, v in self.products)
        assert isinstance(sums, Tensor)
        if self.bias is None:
            return sums
        return sums + self.layer.along_channels(self.bias, sums.dim())

    def positive(self) -> "Contributions":
        """``max(0, z_jk)``.

        Raises:
            ValueError: the contributions are sums, whose signs the factors do not give.
        """
        a, w = self._factors()
        same = (a.clamp(min=0), w.clamp(min=0)), (a.clamp(max=0), w.clamp(max=0))
        return replace(
            self, products=same, bias=None if self.bias is None else self.bias.clamp(min=0)
        )

    def negative(self) -> "Contributions":
        """``min(0, z_jk)``; raises as `positive`."""
        a, w = self._factors()
        opposite = (a.clamp(min=0), w.clamp(max=0)), (a.clamp(max=0), w.clamp(min=0))
        return replace(
            self, products=opposite, bias=None if self.bias is None else self.bias.clamp(max=0)
        )

    def _factors(self) -> tuple[Tensor, Tensor]:
        if len(self.products) > 1:
            raise ValueError("the signs of contributions are known for one product only, not a sum")
        return self.products[0]

    def __add__(self, other: "Contributions") -> "Contributions":
        bias = self.bias if other.bias is None else other.bias
        if self.bias is not None and other.bias is not None:
            bias = self.bias + other.bias
        return replace(self, products=self.products + other.products, bias=bias)

    def __sub__(self, other: "Contributions") -> "Contributions":
        return self + -1.0 * other

    def __rmul__(self, factor: float) -> "Contributions":
        products = tuple((x, factor * v) for x, v in self.products)
        return replace(
            self, products=products, bias=None if self.bias is None else factor * self.bias
        )


@dataclass(frozen=True, eq=False)
class Site:
    """The layer that a rule is applied to, and what is known about its inputs and outputs.

    Attributes:
        layer: the layer.
        size: the shape of its input without the batch.
        reads_pixels: its input is the image, or what the network's own normalisation makes of it.
        nonnegative: no input is below zero, whatever the image.
        rectified: a neuron below zero never has relevance, because a ReLU follows.
        bounds: smallest and largest value of every channel of that input, ``[C]`` each; where
            pixels have been moved, of every value, shaped as `size`.
        by_image: a row of the input is an image; otherwise all rows belong to a single one.
    """

    layer: Affine
    size: tuple[int, ...]
    reads_pixels: bool
    nonnegative: bool
    rectified: bool
    bounds: tuple[Float[Tensor, "..."], Float[Tensor, "..."]]
    by_image: bool = True

    def contributions(self, a: Tensor, with_bias: bool = True) -> Contributions:
        """``z_jk = a_j w_jk``, whose sum is the layer's output if the bias is included."""
        return self.products(a, self.layer.weight, self.layer.bias if with_bias else None)

    def products(
        self, inputs: Tensor, weight: Tensor, bias: Float[Tensor, " k"] | None = None
    ) -> Contributions:
        """``z_jk = x_j v_jk`` for other inputs, weights and biases than the layer's own."""
        return Contributions(self.layer, self.size, ((inputs, weight),), bias)

    def pixel_bounds(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """The bounds, one number for every input, as ``a`` is shaped."""
        low, high = (bound.to(a).expand_as(a) for bound in self.edges())
        return low, high

    def edges(self) -> tuple[Tensor, Tensor]:
        """The bounds, shaped to be multiplied with an input without its batch."""
        shape = (-1, *[1] * (len(self.size) - 1))
        low, high = (bound.view(shape) if bound.dim() == 1 else bound for bound in self.bounds)
        return low, high

    def without_bias(self) -> "Site":
        """The same site for a rule in which the bias takes no part."""
        if self.layer.bias is None:
            return self
        # What a ReLU cuts off depends on the bias and says nothing about the contributions' sum.
        return replace(self, layer=replace(self.layer, bias=None), rectified=False)


@dataclass(frozen=True, eq=False)
class Shares:
    """What became of the relevance of a layer's outputs; what nobody received is lost.

    Attributes:
        to_inputs: ``R_j``, shaped as the layer's input.
        to_bias: what the bias absorbed, per image, ``float64[B]``; 0.0 for nothing.
    """

    to_inputs: Tensor
    to_bias: Float[Tensor, " b"] | float = 0.0

    def __add__(self, other: "Shares") -> "Shares":
        return Shares(self.to_inputs + other.to_inputs, self.to_bias + other.to_bias)


def distribute(relevance: Tensor, z: Contributions, stabilizer: float | Tensor = 0.0) -> Shares:
    """``R_j = sum_k z_jk / (z_k + stabilizer sign(z_k)) R_k``, where 0 / 0 is 0.

    Args:
        relevance: ``R_k``, shaped as the layer's output.
        z: the contributions.
        stabilizer: at least 0; one number, or ``[B, 1, ...]``.
    """
    d = stabilised(z.total(), stabilizer)
    per_contribution = relevance / d.masked_fill(d == 0, torch.inf)
    to_inputs = sum(x * z.layer.transpose(per_contribution, v, z.size) for x, v in z.products)
    assert isinstance(to_inputs, Tensor)
    if z.bias is None:
        return Shares(to_inputs)
    absorbed = per_contribution * z.layer.along_channels(z.bias, d.dim())
    return Shares(to_inputs, absorbed.flatten(1).sum(dim=1, dtype=torch.float64))


def stabilised(d: Tensor, by: float | Tensor) -> Tensor:
    """``d + by sign(d)`` as a new tensor; the sign of 0 is 1."""
    number = by if isinstance(by, Tensor) else d.new_tensor(by)
    return torch.copysign(number, d).add_(d)


def mean_size(z: Tensor, by_image: bool = True) -> Tensor:
    """The mean of ``|z|`` of every image, ``[B, 1, ...]``; of all rows if they are one image."""
    if not by_image:
        return z.abs().mean()
    return z.abs().flatten(1).mean(dim=1).view(-1, *[1] * (z.dim() - 1))

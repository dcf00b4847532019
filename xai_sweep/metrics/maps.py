"""Heatmaps made ready for comparison: cleaned, scaled, with their moments and ranks."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

LEVELS = 2**16
_TINY, _LARGEST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max


def total(values: Float32[Tensor, "*p h w"]) -> Float64[Tensor, "*p"]:
    """The sum of each map: rows in float32, rows together in float64.

    In two steps, because the rounding of a sum over everything depends on the number of maps.
    """
    return values.sum(-1).double().sum(-1)


def energy(values: Float32[Tensor, "*p h w"]) -> Float64[Tensor, "*p"]:
    """The sum of squares of each map, rounded like :func:`total`."""
    rows: Tensor = torch.linalg.vector_norm(values, dim=-1)
    return rows.double().square().sum(-1)


def per_map(numbers: Float64[Tensor, "*p"]) -> Float32[Tensor, "*p 1 1"]:
    """One number per map, shaped to be used with all of its pixels."""
    return numbers.float()[..., None, None]


def largest(values: Float[Tensor, "*p h w"]) -> Float[Tensor, "*p"]:
    """The largest magnitude of each map; NaN or infinity if it holds one."""
    return torch.maximum(values.amax((-2, -1)), -values.amin((-2, -1)))


@dataclass(frozen=True, eq=False)
class Maps:
    """Heatmaps, zero outside of the valid pixels and free of their physical scale.

    Each map is divided by a power of two, which costs no digit, so that its largest magnitude
    lies in [0.5, 1): squares neither overflow nor vanish, whatever the units of the relevance.

    Attributes:
        values: ``float32[..., H, W]``, 0 where ``weights`` is 0.
        exponent: the maps in their own units are ``values * 2**exponent``.
        is_finite: whether all valid pixels are; if not, ``values`` are 0.
        weights: 1 for a valid pixel, 0 for any other; of length 1 along an axis that shares them.
    """

    values: Float32[Tensor, "*p h w"]
    exponent: Float64[Tensor, "*p"]
    is_finite: Bool[Tensor, "*p"]
    weights: Float32[Tensor, "*#p h w"]

    @classmethod
    def cleaned(cls, raw: Float[Tensor, "*p h w"], weights: Float32[Tensor, "*#p h w"]) -> "Maps":
        """Scale heatmaps that may hold anything where ``weights`` is 0."""
        values = raw.float().nan_to_num(nan=_LARGEST).mul_(weights)
        size = largest(values)
        is_finite = size < _LARGEST
        exponent = torch.frexp(size.clamp(min=_TINY)).exponent.double()
        values.mul_(per_map(torch.exp2(-exponent) * is_finite))
        return cls(values, exponent, is_finite, weights)

    @cached_property
    def count(self) -> Float64[Tensor, "*#p"]:
        """Valid pixels."""
        return total(self.weights)

    @cached_property
    def energy(self) -> Float64[Tensor, "*p"]:
        """Sum of squares."""
        return energy(self.values)

    @cached_property
    def mean(self) -> Float64[Tensor, "*p"]:
        """Mean of the valid pixels; 0 if there are none."""
        return total(self.values) / self.count.clamp(min=1)

    @cached_property
    def rms(self) -> Float64[Tensor, "*p"]:
        """Root mean square of the valid pixels; 0 if there are none."""
        return (self.energy / self.count.clamp(min=1)).sqrt()

    @cached_property
    def magnitude(self) -> Float64[Tensor, "*p"]:
        """Mean absolute value of the valid pixels; 0 if there are none."""
        return total(self.values.abs()) / self.count.clamp(min=1)

    @cached_property
    def centred(self) -> Float32[Tensor, "*p h w"]:
        """Values minus their mean at the valid pixels; 0 everywhere if the map is constant."""
        values = torch.addcmul(self.values, self.weights, per_map(-self.mean))
        # The mean, rounded to float32, left an offset that matters if the map hardly varies. Of a
        # constant map nothing else is left: a few units in the last place, whose mean is exact.
        offset = total(values) / self.count.clamp(min=1)
        return values.addcmul_(self.weights, per_map(-offset))

    @cached_property
    def spread(self) -> Float64[Tensor, "*p"]:
        """Largest minus smallest valid pixel; 0 exactly if the map is constant or empty."""
        # Around their mean they lie on both sides of the zeros outside.
        highest, lowest = self.centred.amax((-2, -1)), self.centred.amin((-2, -1))
        return highest.double() - lowest.double()

    @cached_property
    def ranks(self) -> Float32[Tensor, "*p h w"]:
        """Rank of each valid pixel, ties sharing their mean rank, minus the mean of all ranks.

        With n valid pixels the ranks run from ``(1 - n) / 2`` to ``(n - 1) / 2`` and are exact
        multiples of a half (up to 2**23 pixels); they are 0 outside.

        Ranks are counted in a histogram, which is linear in the pixels, and not sorted. A value v
        of a map falls in one of 65,535 equal levels of ``v / (|v| + s)``, s being
        half the map's mean absolute value:
        steps of 3e-5 s near zero, where float noise then cannot shuffle the ranks of pixels
        without relevance, and of 3e-5 (|v| + s)^2 / s further out. Values of one level are tied.
        """
        levels = self._levels.flatten(-2)
        counts = self.values.new_zeros(*levels.shape[:-1], LEVELS)
        counts.scatter_add_(-1, levels, torch.ones_like(self.values).flatten(-2))
        counts[..., 0] = 0  # the pixels outside
        # As integers, which is exact and twice as fast.
        ranks = counts.cumsum(-1, dtype=torch.int32).float().sub_(counts, alpha=0.5)
        ranks.sub_((self.count / 2).float()[..., None])
        ranks[..., 0] = 0
        return ranks.gather(-1, levels).view_as(self.values)

    @property
    def _levels(self) -> Int64[Tensor, "*p h w"]:
        """Level 1..65535 of each valid pixel, 32768 for zero; level 0 outside."""
        half = LEVELS / 2
        size = self.values.abs().add_(per_map(self.magnitude / 2).clamp(min=_TINY))
        # Truncation rounds, thanks to the half that is added here; values outside are zero.
        levels = torch.addcdiv(self.weights * (half + 0.5), self.values, size, value=half - 1)
        return levels.int().long()  # in two steps three times as fast

    def in_units_of(self, exponent: Float64[Tensor, "*p"]) -> Float32[Tensor, "*p h w"]:
        """Values in units of ``2**exponent``, at most 1e15 in magnitude."""
        factor = torch.exp2((self.exponent - exponent).clamp(max=math.log2(1e15)))
        return self.values * per_map(factor)

"""Heatmaps made ready for comparison: cleaned, scaled, with their moments and ranks."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

LEVELS = 2**16
_TINY = torch.finfo(torch.float32).tiny


def total(values: Float32[Tensor, "p h w"]) -> Float64[Tensor, " p"]:
    """The sum of each map: rows in float32, rows together in float64.

    In two steps, because the rounding of a sum over everything depends on the number of maps.
    """
    return values.sum(-1).double().sum(-1)


def energy(values: Float32[Tensor, "p h w"]) -> Float64[Tensor, " p"]:
    """The sum of squares of each map, rounded like :func:`total`."""
    rows: Tensor = torch.linalg.vector_norm(values, dim=-1)
    return rows.double().square().sum(-1)


def per_map(numbers: Float64[Tensor, " p"]) -> Float32[Tensor, "p 1 1"]:
    """One number per map, shaped to be used with all of its pixels."""
    return numbers.float()[:, None, None]


def largest(values: Float32[Tensor, "p h w"]) -> Float32[Tensor, " p"]:
    """The largest magnitude of each map."""
    return torch.maximum(values.amax((-2, -1)), -values.amin((-2, -1)))


@dataclass(frozen=True, eq=False)
class Maps:
    """P heatmaps, zero outside of the valid pixels and free of their physical scale.

    Each map is divided by a power of two, which costs no digit, so that its largest magnitude
    lies in [0.5, 1): squares neither overflow nor vanish, whatever the units of the relevance.

    Attributes:
        values: ``float32[P, H, W]``, 0 where ``weights`` is 0.
        exponent: the maps in their own units are ``values * 2**exponent``.
        weights: 1 for a valid pixel, 0 for any other.
        count: valid pixels per map.
    """

    values: Float32[Tensor, "p h w"]
    exponent: Float64[Tensor, " p"]
    weights: Float32[Tensor, "p h w"]
    count: Float64[Tensor, " p"]

    @classmethod
    def scaled(
        cls,
        raw: Float32[Tensor, "p h w"],
        weights: Float32[Tensor, "p h w"],
        count: Float64[Tensor, " p"],
    ) -> "Maps":
        """Scale maps that are zero outside of the region; one without valid pixels becomes zero."""
        exponent = torch.frexp(largest(raw).clamp(min=_TINY)).exponent.double()
        factor = torch.exp2(-exponent) * (count > 0)
        return cls(raw * per_map(factor), exponent, weights, count)

    @cached_property
    def energy(self) -> Float64[Tensor, " p"]:
        """Sum of squares."""
        return energy(self.values)

    @cached_property
    def mean(self) -> Float64[Tensor, " p"]:
        """Mean of the valid pixels; 0 if there are none."""
        return total(self.values) / self.count.clamp(min=1)

    @cached_property
    def rms(self) -> Float64[Tensor, " p"]:
        """Root mean square of the valid pixels; 0 if there are none."""
        return (self.energy / self.count.clamp(min=1)).sqrt()

    @cached_property
    def magnitude(self) -> Float64[Tensor, " p"]:
        """Mean absolute value of the valid pixels; 0 if there are none."""
        return total(self.values.abs()) / self.count.clamp(min=1)

    @cached_property
    def spread(self) -> Float64[Tensor, " p"]:
        """Largest minus smallest valid pixel; 0 exactly if the map is constant or empty."""
        outside = self.weights - 1  # -1 outside: moves those pixels out of the way of the extremes
        moved = torch.add(self.values, outside, alpha=4)
        highest = moved.amax((-2, -1)).double()
        lowest = moved.sub_(outside, alpha=8).amin((-2, -1)).double()
        return (highest - lowest).clamp(min=0)

    @cached_property
    def centred(self) -> Float32[Tensor, "p h w"]:
        """Values minus their mean at the valid pixels; 0 everywhere if the map is constant."""
        values = torch.addcmul(self.values, self.weights, per_map(-self.mean))
        # The mean, rounded to float32, left an offset that matters if the map hardly varies.
        offset = total(values) / self.count.clamp(min=1)
        values.addcmul_(self.weights, per_map(-offset))
        return values.mul_(per_map((self.spread > 0).double()))

    @cached_property
    def ranks(self) -> Float32[Tensor, "p h w"]:
        """Rank of each valid pixel, ties sharing their mean rank, minus the mean of all ranks.

        With n valid pixels the ranks run from ``(1 - n) / 2`` to ``(n - 1) / 2`` and are exact
        multiples of a half (up to 2**23 pixels); they are 0 outside.

        Ranks are counted in a histogram, which is linear in the pixels, and not sorted. A value v
        of a map falls in one of 65,535 equal levels of ``v / (|v| + s)``, s being
        half the map's mean absolute value:
        steps of 3e-5 s near zero, where float noise then cannot shuffle the ranks of pixels
        without relevance, and of 3e-5 (|v| + s)^2 / s further out. Values of one level are tied.
        """
        levels = self._levels.flatten(1)
        counts = self.weights.new_zeros(len(levels), LEVELS)
        counts.scatter_add_(1, levels, self.weights.flatten(1))
        counts[:, 0] = -self.count / 2  # level 0 is empty; this way ranks come out centred
        ranks = counts.cumsum(1).sub_(counts, alpha=0.5)
        ranks[:, 0] = 0
        return ranks.gather(1, levels).view_as(self.values)

    @property
    def _levels(self) -> Int64[Tensor, "p h w"]:
        """Level 1..65535 of each valid pixel, 32768 for zero; level 0 outside."""
        half = LEVELS / 2
        size = self.values.abs().add_(per_map(self.magnitude / 2).clamp(min=_TINY))
        # Truncation rounds, thanks to the half that is added here; values outside are zero.
        levels = (self.weights * (half + 0.5)).addcdiv_(self.values, size, value=half - 1)
        return levels.int().long()  # in two steps three times as fast

    def in_units_of(self, exponent: Float64[Tensor, " p"]) -> Float32[Tensor, "p h w"]:
        """Values in units of ``2**exponent``, at most 1e15 in magnitude."""
        factor = torch.exp2((self.exponent - exponent).clamp(max=math.log2(1e15)))
        return self.values * per_map(factor)

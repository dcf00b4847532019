"""Heatmaps, each with its reference and the pixels in which they are compared."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor

from xai_sweep.metrics.maps import Maps, energy, per_map, total


@dataclass(frozen=True, eq=False)
class Pairs:
    """Heatmaps, each with its reference and the pixels in which they are compared.

    What several metrics need is computed once, when the first of them asks for it.

    Attributes:
        new: heatmaps of the transformed images, ``float[..., H, W]``.
        reference: those of the clean images, moved along with the transform, of the same shape.
        region: ``bool[..., H, W]``, of length 1 along an axis whose pairs share their region;
            pixels outside do not exist for a metric and may hold anything.
    """

    new: Float[Tensor, "*p h w"]
    reference: Float[Tensor, "*p h w"]
    region: Bool[Tensor, "*#p h w"]

    @cached_property
    def weights(self) -> Float32[Tensor, "*#p h w"]:
        """1 in the region, 0 outside."""
        return self.region.view(torch.uint8).float()  # ten times as fast as from bool

    @cached_property
    def count(self) -> Float64[Tensor, "*p"]:
        """Pixels in the region; NaN if a heatmap is not finite there, so every metric is NaN."""
        is_finite = self.a.is_finite & self.b.is_finite
        return torch.where(is_finite, total(self.weights), torch.nan)

    @cached_property
    def a(self) -> Maps:
        """The new heatmaps, cleaned and scaled."""
        return Maps.cleaned(self.new, self.weights)

    @cached_property
    def b(self) -> Maps:
        """The references, cleaned and scaled."""
        return Maps.cleaned(self.reference, self.weights)

    @cached_property
    def scale(self) -> Float64[Tensor, "*p"]:
        """Root mean square of each reference in its own units; 0 if there is no valid pixel."""
        return self.b.rms * torch.exp2(self.b.exponent)

    @cached_property
    def distance(self) -> Float64[Tensor, "*p"]:
        """Euclidean distance of the two heatmaps over the region, in their own units.

        NaN if the region is empty or a heatmap is not finite.
        """
        exponent = torch.maximum(self.a.exponent, self.b.exponent)
        # Factors are powers of two, so that nothing is rounded but the difference.
        a, b = (per_map(torch.exp2(maps.exponent - exponent)) for maps in (self.a, self.b))
        difference = (self.a.values * a).addcmul_(self.b.values, b, value=-1)
        length = energy(difference).sqrt() * torch.exp2(exponent)
        return torch.where(self.count > 0, length, torch.nan)

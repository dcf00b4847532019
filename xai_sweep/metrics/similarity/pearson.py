"""Pearson's correlation."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float32, Float64
from torch import Tensor

from xai_sweep.metrics.base import Metric, Pairs
from xai_sweep.metrics.maps import total


@dataclass(frozen=True)
class Pearson(Metric):
    """Linear correlation of the two heatmaps over the region; undefined if a map is constant."""

    higher_is_better: ClassVar[bool] = True
    source: ClassVar[str] = "Pearson, Proc. R. Soc. London 58, 1895"

    def __call__(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        """See the class."""
        return correlation(pairs.a.centred, pairs.b.centred)


def correlation(
    a: Float32[Tensor, "*p h w"], b: Float32[Tensor, "*p h w"]
) -> Float64[Tensor, "*p"]:
    """Correlation of maps whose mean is zero; NaN if one of them is zero everywhere."""
    # All three sums are rounded alike, so that a map's correlation with itself is exactly 1.
    return (total(a * b) / (total(a.square()) * total(b.square())).sqrt()).clamp(-1, 1)

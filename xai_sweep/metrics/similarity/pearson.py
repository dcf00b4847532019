"""Pearson's correlation."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float32, Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Distance
from xai_sweep.metrics.maps import total
from xai_sweep.metrics.pairs import Pairs


@dataclass(frozen=True)
class Pearson(Distance):
    """Linear correlation of the two heatmaps over the region; undefined if a map is constant."""

    column: ClassVar[Column] = Column(
        "pearson",
        "Linear correlation of the two heatmaps over the region.",
        better="higher",
        null="a heatmap is constant",
        source="Pearson, Proc. R. Soc. London 58, 1895",
    )

    @override
    def between(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        return correlation(pairs.a.centred, pairs.b.centred)


def correlation(
    a: Float32[Tensor, "*p h w"], b: Float32[Tensor, "*p h w"]
) -> Float64[Tensor, "*p"]:
    """Correlation of maps whose mean is zero; NaN if one of them is zero everywhere."""
    # All three sums are rounded alike, so that a map's correlation with itself is exactly 1.
    return (total(a * b) / (total(a.square()) * total(b.square())).sqrt()).clamp(-1, 1)

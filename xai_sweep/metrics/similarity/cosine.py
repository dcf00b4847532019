"""Cosine similarity."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Distance
from xai_sweep.metrics.maps import total
from xai_sweep.metrics.pairs import Pairs


@dataclass(frozen=True)
class Cosine(Distance):
    """``sum(a b) / sqrt(sum(a^2) sum(b^2))`` over the region; undefined if a map is all zero."""

    column: ClassVar[Column] = Column(
        "cosine",
        "Cosine of the angle between the two heatmaps as vectors, over the region.",
        better="higher",
        null="a heatmap is zero everywhere",
        source="cosine of the angle between the heatmaps as vectors",
    )

    @override
    def between(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        a, b = pairs.a, pairs.b
        return (total(a.values * b.values) / (a.energy * b.energy).sqrt()).clamp(-1, 1)

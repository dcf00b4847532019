"""Cosine similarity."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float64
from torch import Tensor

from xai_sweep.metrics.base import Metric, Pairs
from xai_sweep.metrics.maps import total


@dataclass(frozen=True)
class Cosine(Metric):
    """``sum(a b) / sqrt(sum(a^2) sum(b^2))`` over the region; undefined if a map is all zero."""

    higher_is_better: ClassVar[bool] = True
    source: ClassVar[str] = "cosine of the angle between the heatmaps as vectors"

    def __call__(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        """See the class."""
        a, b = pairs.a, pairs.b
        return (total(a.values * b.values) / (a.energy * b.energy).sqrt()).clamp(-1, 1)

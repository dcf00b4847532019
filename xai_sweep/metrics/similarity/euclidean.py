"""Euclidean distance."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Distance, Scale
from xai_sweep.metrics.pairs import Pairs


@dataclass(frozen=True)
class Euclidean(Distance):
    """``sqrt(sum((new - reference)^2))`` over the region, in the heatmaps' own units.

    It grows with the number of pixels: compare it only where the region has the same size, or over
    a distance of images that grows likewise. Undefined for an empty region and for a value that is
    not finite.
    """

    column: ClassVar[Column] = Column(
        "euclidean",
        "Euclidean distance of the two heatmaps over the region, in their own units.",
        better="lower",
        null="no valid pixel, or a value that is not finite",
        source="Alvarez-Melis, Jaakkola, WHI 2018, eq. 2, the distance of two explanations",
    )
    scale: ClassVar[Scale] = "proportional"

    @override
    def between(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        return pairs.distance

"""Root mean square error."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Distance, Scale
from xai_sweep.metrics.pairs import Pairs


@dataclass(frozen=True)
class RMSE(Distance):
    """``sqrt(mean((new - reference)^2))`` over the region, in the heatmaps' own units.

    Only an empty region or a value that is not finite make it undefined.
    """

    column: ClassVar[Column] = Column(
        "rmse",
        "Root mean square difference of the two heatmaps over the region, in their own units.",
        better="lower",
        null="no valid pixel, or a value that is not finite",
        source="Heggen, University of Oslo, 2021, eq. 7.1",
    )
    scale: ClassVar[Scale] = "proportional"

    @override
    def between(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        return pairs.distance / pairs.count.sqrt()

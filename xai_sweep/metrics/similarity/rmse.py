"""Root mean square error."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Distance
from xai_sweep.metrics.maps import energy
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

    @override
    def between(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        exponent = torch.maximum(pairs.a.exponent, pairs.b.exponent)
        difference = pairs.a.in_units_of(exponent).sub_(pairs.b.in_units_of(exponent))
        return (energy(difference) / pairs.count).sqrt() * torch.exp2(exponent)

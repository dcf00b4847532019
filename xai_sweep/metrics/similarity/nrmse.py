"""Root mean square error in units of the reference."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Distance
from xai_sweep.metrics.pairs import Pairs
from xai_sweep.metrics.similarity.rmse import RMSE


@dataclass(frozen=True)
class NRMSE(Distance):
    """RMSE of the two heatmaps, each divided by the reference's root mean square over the region.

    Free of the scale of the relevance: 0 for equal maps, 1 for a new map of zeros, about the square
    root of 2 for unrelated maps of equal size. Undefined if the reference is zero everywhere.
    """

    column: ClassVar[Column] = Column(
        "nrmse",
        "`rmse` divided by the reference's root mean square over the region.",
        better="lower",
        null="the reference is zero everywhere",
        source="Heggen, University of Oslo, 2021, eq. 7.1, in units of the reference",
    )

    @override
    def between(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        return torch.where(pairs.scale > 0, RMSE().between(pairs) / pairs.scale, torch.nan)

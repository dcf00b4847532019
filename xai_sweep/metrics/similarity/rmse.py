"""Root mean square error."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from xai_sweep.metrics.base import Metric, Pairs
from xai_sweep.metrics.maps import energy


@dataclass(frozen=True)
class RMSE(Metric):
    """``sqrt(mean((new - reference)^2))`` over the region, in the heatmaps' own units.

    Only an empty region or a value that is not finite make it undefined.
    """

    higher_is_better: ClassVar[bool] = False
    source: ClassVar[str] = "Heggen, University of Oslo, 2021, eq. 7.1"

    def __call__(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        """See the class."""
        exponent = torch.maximum(pairs.a.exponent, pairs.b.exponent)
        difference = pairs.a.in_units_of(exponent).sub_(pairs.b.in_units_of(exponent))
        return (energy(difference) / pairs.count).sqrt() * torch.exp2(exponent)

"""A similarity of two heatmaps."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Distance
from xai_sweep.metrics.pairs import Pairs


@dataclass(frozen=True)
class SignAgreement(Distance):
    """Share of the pixels in which both heatmaps have the same sign; 0 agrees with 0 alone."""

    column: ClassVar[Column] = Column(
        "sign_agreement",
        "Share of the compared pixels in which both heatmaps have the same sign, from 0 to 1.",
        better="higher",
        null="no pixel is compared, or a heatmap is not finite",
    )

    @override
    def between(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        same = (pairs.new.sign() == pairs.reference.sign()) & pairs.region
        return same.sum(dim=(-2, -1)).double() / pairs.count

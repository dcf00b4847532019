"""Overlap of the most relevant pixels."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float64
from torch import Tensor

from xai_sweep.errors import InputError
from xai_sweep.metrics.base import Metric, Pairs
from xai_sweep.metrics.maps import Maps, per_map


@dataclass(frozen=True)
class TopKIoU(Metric):
    """Intersection over union of the most relevant pixels (the most positive ones) of both maps.

    With n valid pixels, k is ``share * n``, rounded, at least 1. A pixel is chosen if its rank
    (1..n, ties share their mean rank) is above n - k. So a tie at the edge is chosen or left as a
    whole, chosen maps may hold fewer or more than k pixels, and a map without a top (constant, or
    half of it on one plateau of largest values) has none. Undefined if neither map has one.

    Attributes:
        share: part of the valid pixels, above 0 and below 1.
    """

    share: float = 0.05

    higher_is_better: ClassVar[bool] = True
    source: ClassVar[str] = "Ghorbani, Abid, Zou, AAAI 2019, top-k intersection, over the union"

    def __post_init__(self) -> None:
        if not (isinstance(self.share, float) and 0 < self.share < 1):
            raise InputError("metric.topk_iou.share", self.share, "a number above 0 and below 1")

    def __call__(self, pairs: Pairs) -> Float64[Tensor, " p"]:
        """See the class."""
        a, b = self._top(pairs.a, pairs.valid), self._top(pairs.b, pairs.valid)
        return (a & b).sum((-2, -1)).double() / (a | b).sum((-2, -1))

    def _top(self, maps: Maps, valid: Bool[Tensor, "p h w"]) -> Bool[Tensor, "p h w"]:
        k = (self.share * maps.count).round().clamp(min=1)
        above = maps.count - k - (maps.count + 1) / 2  # n - k, as a rank minus the mean rank
        return (maps.ranks > per_map(above)) & valid

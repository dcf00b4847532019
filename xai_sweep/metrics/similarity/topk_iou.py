"""Overlap of the most relevant pixels."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt, Lt
from jaxtyping import Float32, Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Distance
from xai_sweep.metrics.maps import Maps, per_map, total
from xai_sweep.metrics.pairs import Pairs


@dataclass(frozen=True)
class TopKIoU(Distance):
    """Intersection over union of the most relevant pixels (the most positive ones) of both maps.

    With n valid pixels, k is ``share * n``, rounded, at least 1. A pixel is chosen if its rank
    (1..n, ties share their mean rank) is above n - k. So a tie at the edge is chosen or left as a
    whole, chosen maps may hold fewer or more than k pixels, and a map whose largest value fills
    more than 2 k pixels has no top. Undefined if neither map has one.

    Attributes:
        share: part of the valid pixels, above 0 and below 1.
    """

    share: Annotated[float, Gt(0), Lt(1)] = 0.05

    column: ClassVar[Column] = Column(
        "topk_iou",
        "Intersection over union of the most relevant pixels of both heatmaps.",
        better="higher",
        null="neither heatmap has a top",
        null_is_sound=True,  # a superpixel may be larger than the top
        source="Ghorbani, Abid, Zou, AAAI 2019, top-k intersection, over the union",
    )

    @override
    def between(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        a, b = self._top(pairs, pairs.a), self._top(pairs, pairs.b)
        both = total(a * b)
        return both / (total(a) + total(b) - both)

    def _top(self, pairs: Pairs, maps: Maps) -> Float32[Tensor, "*p h w"]:
        """1 for each chosen pixel, 0 for any other."""
        n = pairs.count
        k = (self.share * n).round().clamp(min=1)
        above = n - k - (n + 1) / 2  # n - k, as a rank minus the mean rank
        # Into floats, because booleans are slow to make and to count.
        chosen = torch.gt(maps.ranks, per_map(above), out=torch.empty_like(maps.ranks))
        return chosen.mul_(pairs.weights)

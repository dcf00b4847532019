"""Spearman's rank correlation."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Distance
from xai_sweep.metrics.pairs import Pairs
from xai_sweep.metrics.similarity.pearson import correlation


@dataclass(frozen=True)
class Spearman(Distance):
    """Correlation of the pixels' ranks over the region; undefined if a map is constant.

    Ranks are those of :attr:`Maps.ranks`: values closer than about 1.5e-5 of their map's mean
    absolute value are tied. A map that varies by less than that around a large offset counts as
    constant.
    """

    column: ClassVar[Column] = Column(
        "spearman",
        "Correlation of the pixels' ranks over the region; ties share their mean rank.",
        better="higher",
        null="a heatmap is constant",
        source="Spearman, Am. J. Psychology 15, 1904; mean ranks for ties",
    )

    @override
    def between(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        return correlation(pairs.a.ranks, pairs.b.ranks)

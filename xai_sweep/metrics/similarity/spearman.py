"""Spearman's rank correlation."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float64
from torch import Tensor

from xai_sweep.metrics.base import Metric, Pairs
from xai_sweep.metrics.similarity.pearson import correlation


@dataclass(frozen=True)
class Spearman(Metric):
    """Correlation of the pixels' ranks over the region; undefined if a map is constant.

    Ranks are those of :attr:`Maps.ranks`: values closer than about 1.5e-5 of their map's mean
    absolute value are tied. A map that varies by less than that around a large offset counts as
    constant.
    """

    higher_is_better: ClassVar[bool] = True
    source: ClassVar[str] = "Spearman, Am. J. Psychology 15, 1904; mean ranks for ties"

    def __call__(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        """See the class."""
        return correlation(pairs.a.ranks, pairs.b.ranks)

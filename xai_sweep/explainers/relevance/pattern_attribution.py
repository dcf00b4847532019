"""PatternAttribution: how much each part of the signal contributes to the logit."""

from dataclasses import dataclass

from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.pattern_method import PatternMethod


@dataclass(frozen=True)
class PatternAttribution(PatternMethod):
    """Deep Taylor decomposition from the root point ``x - a w^T x``, the image without its signal.

    The logit is propagated back like a gradient, with every weight ``w`` replaced by ``w`` times
    its pattern ``a``, element by element.

    Source: Kindermans et al. 2018, "Learning how to explain neural networks: PatternNet and
    PatternAttribution", section 4.
    """

    @override
    def weight_back(self, weight: Tensor, pattern: Tensor, growth: float) -> Tensor:
        return weight * pattern

"""PatternNet: the signal that a network saw."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.pattern_method import PatternMethod


@dataclass(frozen=True)
class PatternNet(PatternMethod):
    """The part of the image that carries the logit.

    The logit is propagated back like a gradient, with every weight replaced by its pattern. Neurons
    that share a signal each bring back all of it, so that a map grows with every layer: in plain
    VGG16 it overflows single precision. ``scale=unit`` divides each layer's patterns by one number.

    Source: Kindermans et al. 2018, "Learning how to explain neural networks: PatternNet and
    PatternAttribution", section 4.

    Attributes:
        scale: ``unit``, on average what leaves a layer is as large as what arrives, which in a
            network without branches changes the map by one constant; ``none``, as in the paper,
            where for one layer the map is the signal in the units of the network's input.
    """

    scale: Literal["unit", "none"] = "unit"

    @override
    def weight_back(self, weight: Tensor, pattern: Tensor, growth: float) -> Tensor:
        return pattern if self.scale == "none" else pattern / growth

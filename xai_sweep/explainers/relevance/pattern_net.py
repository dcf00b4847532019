"""PatternNet: the signal that a network saw."""

from dataclasses import dataclass

from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.pattern_method import PatternMethod

SCALES = ("unit", "none")


@dataclass(frozen=True)
class PatternNet(PatternMethod):
    """The part of the image that carries the logit.

    The logit goes back as a gradient does, with every weight replaced by its pattern. Neurons
    that share a signal each bring all of it back, so a map grows with every layer: in plain VGG16
    it leaves single precision. ``scale=unit`` divides each layer's patterns by one number.

    Source: Kindermans et al. 2018, "Learning how to explain neural networks: PatternNet and
    PatternAttribution", section 4.

    Attributes:
        scale: ``unit``, what leaves a layer is on the average as large as what arrives, which in a
            network without branches changes the map by one constant; ``none``, as in the paper,
            where for one layer the map is the signal in the units of the network's input.
    """

    scale: str = "unit"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale not in SCALES:
            allowed = f"must be one of {', '.join(SCALES)}"
            raise InputError("explainer.scale", self.scale, allowed)

    def weight_back(self, weight: Tensor, pattern: Tensor, growth: float) -> Tensor:
        """See `PatternMethod.weight_back`."""
        return pattern if self.scale == "none" else pattern / growth

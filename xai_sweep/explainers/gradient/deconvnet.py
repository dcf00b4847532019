"""The deconvolutional network on the captured graph."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.gradient.rectifiers import RectifiedGradient


@dataclass(frozen=True)
class Deconvnet(RectifiedGradient):
    """The gradient, except that a ReLU passes all positive parts and nothing else, open or closed.

    With ``activations=smooth`` every activation does, whatever its derivative.

    Max pooling is inverted with the switches of the forward pass, which is its gradient.

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", 2.1.
    """

    source: ClassVar[str] = "Zeiler and Fergus 2014, arXiv:1311.2901"

    @staticmethod
    @override
    def receiver(before: Tensor, after: Tensor) -> Tensor:
        return before

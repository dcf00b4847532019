"""The deconvolutional network on the captured graph."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from xai_sweep.explainers.gradient.rectifiers import RectifiedGradient


@dataclass(frozen=True)
class Deconvnet(RectifiedGradient):
    """The gradient, but a ReLU lets all positive parts through, and nothing else, open or not.

    Max pooling is undone with the switches of the forward pass, which is its gradient.

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", 2.1.
    """

    source: ClassVar[str] = "Zeiler and Fergus 2014, arXiv:1311.2901"

    @staticmethod
    def receiver(before: Tensor, after: Tensor) -> Tensor:
        """See `RectifiedGradient.receiver`."""
        return before

"""Guided backpropagation on the captured graph."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.gradient.rectifiers import RectifiedGradient


@dataclass(frozen=True)
class GuidedBackprop(RectifiedGradient):
    """The gradient, with negative parts dropped at every ReLU in the forward and backward pass.

    Where the network saturates (z > 6), a ReLU6 passes nothing. With ``activations=smooth`` the
    negative parts of what arrives at any activation are dropped, and the rest is multiplied by
    the activation's own derivative; at a ReLU this is the paper's rule.

    Source: Springenberg et al. 2014, "Striving for simplicity", section 3.4.
    """

    source: ClassVar[str] = "Springenberg et al. 2014, arXiv:1412.6806"

    @staticmethod
    @override
    def receiver(before: Tensor, after: Tensor) -> Tensor:
        return after

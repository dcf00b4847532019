"""Guided backpropagation on the captured graph."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.explainers.base import Explain, Explainer
from xai_sweep.explainers.rectifiers import rectified_gradients
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class GuidedBackprop(Explainer):
    """The gradient with negative parts dropped behind every ReLU, in the forward and backward pass.

    Works on the captured graph, so functional, in-place and re-used ReLUs count, and ReLU6 too.
    Where the network saturates (z > 6) a ReLU6 passes nothing. Smooth activations such as SiLU
    keep their gradient: the method is not defined for them.

    Source: Springenberg et al. 2014, "Striving for simplicity", section 3.4.
    """

    source: ClassVar[str] = "Springenberg et al. 2014, arXiv:1412.6806"

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            gradients = rectified_gradients(classifier, images, targets, own_derivative=True)
            return gradients.sum(dim=2)

        return explain

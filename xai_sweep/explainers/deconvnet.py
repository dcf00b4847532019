"""The deconvolutional network on the captured graph."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.explainers.base import Explain, Explainer
from xai_sweep.explainers.rectifiers import rectified_gradients
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class Deconvnet(Explainer):
    """The gradient, but a ReLU lets all positive parts through, and nothing else, open or not.

    Max pooling is undone with the switches of the forward pass, which is its gradient. Works on the
    captured graph, so functional, in-place and re-used ReLUs count, and ReLU6 too. Smooth
    activations such as SiLU keep their gradient: the method is not defined for them.

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", 2.1.
    """

    source: ClassVar[str] = "Zeiler and Fergus 2014, arXiv:1311.2901"

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            gradients = rectified_gradients(classifier, images, targets, own_derivative=False)
            return gradients.sum(dim=2)

        return explain

"""Input times gradient."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.explainers.base import Explain, Explainer, pixel_gradients
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class InputXGradient(Explainer):
    """The gradient of the target's logit times the image, in the network's normalised space.

    It is the first-order part of what the image adds to the logit of a picture in the mean colour.

    Source: Shrikumar et al. 2016, "Not just a black box", section 2.
    """

    source: ClassVar[str] = "Shrikumar et al. 2016, arXiv:1605.01713"

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            gradients = pixel_gradients(classifier, images, targets)
            return (images.detach().unsqueeze(1) * gradients).sum(dim=2)

        return explain

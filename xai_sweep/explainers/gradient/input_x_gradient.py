"""Input times gradient."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.base import Explained, Explainer, pixel_gradients
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class InputXGradient(Explainer):
    """The gradient of the target's logit times the image, in the network's normalised space.

    This is the first-order part of what the image adds to the logit of a plain image in the mean
    colour.

    Source: Shrikumar et al. 2016, "Not just a black box", section 2.
    """

    source: ClassVar[str] = "Shrikumar et al. 2016, arXiv:1605.01713"

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        gradients = pixel_gradients(classifier, images, targets)
        return Explained((images.detach().unsqueeze(1) * gradients).sum(dim=2))

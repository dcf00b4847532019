"""Saliency: the gradient of a class score at the pixels."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.base import Explained, Explainer, pixel_gradients
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class Saliency(Explainer):
    """The gradient of the target's logit with respect to the image.

    Source: Simonyan, Vedaldi, Zisserman 2013, "Deep inside convolutional networks", section 3.

    Attributes:
        reduction: how channels become one number: ``sum`` keeps the sign, ``absolute_max`` is the
            largest absolute value over channels, as in the paper.
    """

    reduction: Literal["sum", "absolute_max"] = "sum"

    source: ClassVar[str] = "Simonyan et al. 2013, arXiv:1312.6034"

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
        if self.reduction == "sum":
            return Explained(gradients.sum(dim=2))
        return Explained(gradients.abs().amax(dim=2))

"""Saliency: the gradient of a class score at the pixels."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import Explain, Explainer, pixel_gradients
from xai_sweep.models.classifier import Classifier

REDUCTIONS = ("sum", "absolute_max")


@dataclass(frozen=True)
class Saliency(Explainer):
    """The gradient of the target's logit with respect to the image.

    Source: Simonyan, Vedaldi, Zisserman 2013, "Deep inside convolutional networks", section 3.

    Attributes:
        reduction: how channels become one number: ``sum`` keeps the sign, ``absolute_max`` is the
            largest absolute value over channels, as in the paper.
    """

    reduction: str = "sum"

    source: ClassVar[str] = "Simonyan et al. 2013, arXiv:1312.6034"

    def __post_init__(self) -> None:
        if self.reduction not in REDUCTIONS:
            raise InputError(
                "explainer.reduction", self.reduction, f"must be one of {', '.join(REDUCTIONS)}"
            )

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            gradients = pixel_gradients(classifier, images, targets)
            if self.reduction == "sum":
                return gradients.sum(dim=2)
            return gradients.abs().amax(dim=2)

        return explain

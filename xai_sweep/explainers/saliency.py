"""Saliency: the gradient of a class score at the pixels."""

from dataclasses import dataclass
from typing import ClassVar

from captum.attr import Saliency as CaptumSaliency
from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.errors import InputError
from xai_sweep.explainers.base import Explain, Explainer, target_scores
from xai_sweep.models.classifier import Classifier, evaluating

REDUCTIONS = ("sum", "absolute_max")


@dataclass(frozen=True)
class Saliency(Explainer):
    """The gradient of the target's logit with respect to the image, computed by captum.

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

        def score(images: Tensor, targets: Tensor) -> Tensor:
            return target_scores(classifier.module(images), targets[:, None])[:, 0]

        method = CaptumSaliency(score)

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            # captum explains one target per image, so every image stands in the batch K times.
            repeated = images.detach().repeat_interleave(targets.shape[1], dim=0)
            with evaluating(classifier.module):
                gradients: Tensor = method.attribute(
                    repeated.requires_grad_(),
                    additional_forward_args=targets.flatten(),
                    abs=False,
                ).detach()
            if self.reduction == "sum":
                heatmaps = gradients.sum(dim=1)
            else:
                heatmaps = gradients.abs().amax(dim=1)
            return heatmaps.view(*targets.shape, *heatmaps.shape[1:])

        return explain

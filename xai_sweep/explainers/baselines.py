"""Images without evidence, with which some methods compare an image."""

from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from xai_sweep.core.columns import Column
from xai_sweep.explainers.base import RELEVANCE_RATIO
from xai_sweep.models.classifier import Classifier

Baseline: TypeAlias = Literal["mean", "black", "white"]

BASELINE_SHARE = Column(
    "baseline_share",
    "Logit that the baseline already has for the explained class, divided by the counterpart's. "
    "Up to the error of the method it adds up to 1 with `relevance_ratio`.",
    null="the method does not explain the difference from a baseline",
    source="Sundararajan et al. 2017, arXiv:1703.01365, proposition 1",
)
BASELINE_FACTS = (RELEVANCE_RATIO, BASELINE_SHARE)


def baseline_like(
    images: Float[Tensor, "b c h w"], baseline: Baseline, classifier: Classifier
) -> Float[Tensor, "b c h w"]:
    """An image of one colour for each image.

    Args:
        images: in normalised space, and so is the result.
        baseline: ``mean``, the colour that the network was normalised with, zero in its space;
            ``black`` or ``white``.
        classifier: whose normalisation it is.
    """
    plain = torch.zeros_like(images)
    if baseline == "mean":
        return plain
    return classifier.normalisation.to_normalised(plain + float(baseline == "white"))


def baseline_facts(
    heatmaps: Float[Tensor, "b k h w"], logits: Float[Tensor, "b k"], baseline: Float[Tensor, "b k"]
) -> dict[str, Float64[Tensor, "b k"]]:
    """The columns `BASELINE_FACTS`, of heatmaps that sum to a difference of logits.

    Args:
        heatmaps: relevance.
        logits: of the K targets.
        baseline: logits of the same targets for the baseline.
    """
    whole = logits.detach().double()
    return {
        "relevance_ratio": heatmaps.double().sum(dim=(2, 3)) / whole,
        "baseline_share": baseline.detach().double() / whole,
    }

"""The picture without evidence that some methods compare an image with."""

import torch
from jaxtyping import Float
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.models.classifier import Classifier

BASELINES = ("mean", "black", "white")


def check_baseline(baseline: str) -> None:
    """Refuse a baseline that is not one of `BASELINES`.

    Raises:
        InputError: naming them.
    """
    if baseline not in BASELINES:
        allowed = f"must be one of {', '.join(BASELINES)}"
        raise InputError("explainer.baseline", baseline, allowed)


def baseline_like(
    images: Float[Tensor, "b c h w"], baseline: str, classifier: Classifier
) -> Float[Tensor, "b c h w"]:
    """A picture of one colour for each image.

    Args:
        images: in normalised space, and so is the result.
        baseline: ``mean``, the colour that the network was normalised with, zero in its space;
            ``black`` or ``white``.
        classifier: whose normalisation it is.
    """
    pictures = torch.zeros_like(images)
    if baseline == "mean":
        return pictures
    return classifier.normalisation.to_normalised(pictures + float(baseline == "white"))

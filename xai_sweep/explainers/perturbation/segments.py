"""Segments of an image, for methods that take whole ones away."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from skimage.segmentation import slic
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.models.classifier import Classifier

SEGMENTATIONS = ("slic", "grid")


def check_segments(segmentation: str, count: int) -> None:
    """Refuse a segmentation that is not there, and a number that is none.

    Raises:
        InputError: naming the key.
    """
    if segmentation not in SEGMENTATIONS:
        allowed = f"must be one of {', '.join(SEGMENTATIONS)}"
        raise InputError("explainer.segmentation", segmentation, allowed)
    if count < 2:
        raise InputError("explainer.segments", count, "must be at least 2")


def segmented(
    images: Float[Tensor, "b c h w"], segmentation: str, count: int, classifier: Classifier
) -> Int64[Tensor, "b h w"]:
    """The segment of every pixel, from 0.

    Args:
        images: in normalised space.
        segmentation: ``slic``, superpixels of similar colour; or ``grid``, equal rectangles.
        count: about how many; a grid has the largest square number that is not larger.
        classifier: whose normalisation it is.
    """
    height, width = images.shape[-2:]
    if segmentation == "grid":
        side = int(count**0.5)
        rows = torch.arange(height, device=images.device) * side // height
        columns = torch.arange(width, device=images.device) * side // width
        return (rows[:, None] * side + columns).expand(len(images), -1, -1)
    # In single precision whatever the network's, so that both find the same superpixels.
    pixels = classifier.normalisation.to_pixels(images.detach().float())
    photos = pixels.permute(0, 2, 3, 1).cpu().numpy()
    colours = photos.shape[-1] == 3
    labels = [slic(photo, n_segments=count, start_label=0, convert2lab=colours) for photo in photos]
    return torch.from_numpy(np.stack(labels)).to(images.device, torch.int64)

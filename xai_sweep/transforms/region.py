"""The valid region: pixels that hold image, and no fill, after a motion."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xai_sweep.transforms.motion import Motion, Still

# A pixel counts as filled if more than this share of it is fill; rounding is far below.
_FILL = 1e-4


def valid_region(
    motion: Motion, ones: Float[Tensor, "b 1 h w"], region: str
) -> Bool[Tensor, "b h w"]:
    """The pixels in which heatmaps are compared.

    Args:
        motion: how pixels moved.
        ones: maps of ones, as many as moved images.
        region: ``mask``, all pixels without fill; ``rectangle``, the largest centred rectangle of
            the image's aspect ratio inside them, as the thesis crops; ``none``, every pixel.
    """
    if region == "none" or isinstance(motion, Still):
        return ones[:, 0].bool()
    mask = unfilled(motion.move(ones))
    return largest_rectangle(mask) if region == "rectangle" else mask


def there_and_back_region(motion: Motion, ones: Float[Tensor, "b 1 h w"]) -> Bool[Tensor, "b h w"]:
    """The pixels that hold no fill after an image is moved and moved back."""
    if isinstance(motion, Still):
        return ones[:, 0].bool()
    return unfilled(motion.move_back(unfilled(motion.move(ones)).to(ones)[:, None]))


def unfilled(warped_ones: Float[Tensor, "b 1 h w"]) -> Bool[Tensor, "b h w"]:
    """Where a warped mask of ones is still one, eroded by one pixel.

    The frame of the image itself does not erode, so an untouched mask stays whole.
    """
    full = warped_ones[:, 0] >= 1 - _FILL
    eroded = full.clone()
    # Twice along each axis is ten times as fast as a pooling layer.
    eroded[:, 1:] &= full[:, :-1]
    eroded[:, :-1] &= full[:, 1:]
    full = eroded.clone()
    eroded[..., 1:] &= full[..., :-1]
    eroded[..., :-1] &= full[..., 1:]
    return eroded


def largest_rectangle(mask: Bool[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
    """The largest centred rectangle with the image's aspect ratio that holds only valid pixels."""
    height, width = mask.shape[-2:]
    rows = torch.arange(height, device=mask.device) - (height - 1) / 2
    columns = torch.arange(width, device=mask.device) - (width - 1) / 2
    # Distance from the centre in units of the half frame: level sets are the rectangles.
    distance = torch.maximum(rows.abs()[:, None] / height, columns.abs()[None, :] / width)
    nearest = torch.where(mask, torch.inf, distance).flatten(1).amin(dim=1)
    return distance < nearest[:, None, None]

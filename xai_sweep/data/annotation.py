"""Where the objects of a photo are in the frame that the network sees."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xai_sweep.data.base import Box
from xai_sweep.models import Preprocess
from xai_sweep.models.preprocessing import grey_picture
from xai_sweep.study.case import Annotation


def annotate(
    boxes: Sequence[Box], size: tuple[int, int], preprocess: Preprocess, channels: int = 3
) -> Annotation:
    """Boxes of a photo in the frame of the network.

    They follow whatever the preprocessing does with pixels: each box is drawn in white on a black
    image of the photo's size, which is preprocessed as the photo is. Black and white images of that
    size show what the preprocessing makes of 0 and 1, and so undo the normalisation. A pixel
    belongs to the object if at least half of it is white.

    Args:
        boxes: in pixels of the photo.
        size: width and height of the photo.
        preprocess: a picture to a tensor ``[C, H, W]``, affine in the pixels' values.
        channels: of the pictures that it takes.

    Returns:
        The mask of all boxes together, and the rectangle around what is left of each box, in whole
        pixels. A box that was cropped away is left out.

    Raises:
        ValueError: the preprocessing gives the same for black and for white.
    """
    width, height = size

    def preprocessed(grey: Float[np.ndarray, "h w"]) -> Float[Tensor, "y x"]:
        """A grey image in [0, 1] after preprocessing, its channels summed."""
        levels = (grey * 255).round().astype(np.uint8)
        return preprocess(grey_picture(levels, channels)).double().sum(dim=0)

    black = preprocessed(np.zeros((height, width)))
    contrast = preprocessed(np.ones((height, width))) - black
    if not (contrast > 0).any():
        raise ValueError("gives the same for a black and a white image, so boxes cannot follow")
    masks = []
    for box in boxes:
        drawn = np.outer(
            _coverage(box.top, box.bottom, height), _coverage(box.left, box.right, width)
        )
        # What the preprocessing adds around the photo has no contrast, and is never inside.
        masks.append((preprocessed(drawn) - black >= contrast / 2) & (contrast > 0))
    edges = [_edges(mask) for mask in masks if mask.any()]
    return Annotation(
        mask=torch.stack(masks).any(dim=0),
        boxes=torch.tensor(edges, dtype=torch.float64).reshape(-1, 4),
    )


def _coverage(start: float, end: float, length: int) -> Float[np.ndarray, " n"]:
    """The part of each pixel of a line that lies between two positions."""
    pixels = np.arange(length)
    covered = np.minimum(pixels + 1, end) - np.maximum(pixels, start)
    return covered.clip(0, 1)


def _edges(mask: Bool[Tensor, "h w"]) -> list[float]:
    """Left, top, right, bottom of the smallest rectangle around a mask."""
    columns, rows = mask.any(dim=0).nonzero(), mask.any(dim=1).nonzero()
    return [
        float(columns.min()),
        float(rows.min()),
        float(columns.max()) + 1,
        float(rows.max()) + 1,
    ]

"""Zoom by definition: one pixel at a time, bilinear, zero outside."""

import math

import numpy as np
from numpy.typing import NDArray


def zoomed(images: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Enlarge ``[..., H, W]`` about the centre by a factor; zeros come in from outside."""
    height, width = images.shape[-2:]
    result = np.zeros_like(images)
    for row in range(height):
        for column in range(width):
            y = (row - (height - 1) / 2) / factor + (height - 1) / 2
            x = (column - (width - 1) / 2) / factor + (width - 1) / 2
            top, left = math.floor(y), math.floor(x)
            for at_row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
                for at_column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
                    if 0 <= at_row < height and 0 <= at_column < width:
                        result[..., row, column] += down * across * images[..., at_row, at_column]
    return result

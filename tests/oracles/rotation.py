"""Rotation by definition: where does each pixel come from, and what is there."""

import math

import numpy as np
from numpy.typing import NDArray


def rotated(
    images: NDArray[np.float64], angle: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rotate ``[..., H, W]`` counter-clockwise about the centre, bilinearly, a pixel at a time.

    Returns:
        The images, and where all four neighbours of the source lie within the image.
    """
    height, width = images.shape[-2:]
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    result = np.zeros_like(images)
    inside = np.zeros((height, width), dtype=bool)
    for row in range(height):
        for column in range(width):
            x, y = column - (width - 1) / 2, row - (height - 1) / 2
            # The y axis points down, so turning back counter-clockwise looks like this.
            source_x = cosine * x - sine * y + (width - 1) / 2
            source_y = sine * x + cosine * y + (height - 1) / 2
            left, top = math.floor(source_x), math.floor(source_y)
            if not (0 <= left < width - 1 and 0 <= top < height - 1):
                continue
            inside[row, column] = True
            fx, fy = source_x - left, source_y - top
            result[..., row, column] = (
                images[..., top, left] * (1 - fx) * (1 - fy)
                + images[..., top, left + 1] * fx * (1 - fy)
                + images[..., top + 1, left] * (1 - fx) * fy
                + images[..., top + 1, left + 1] * fx * fy
            )
    return result, inside

"""Functions of images, as users bring them."""

import numpy as np
import torch
from numpy.typing import NDArray

Images = NDArray[np.float32]


def colours(images: Images) -> NDArray[np.float64]:
    """How red, green and blue they are, relative to one another."""
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    means = images.mean(axis=(2, 3), dtype=np.float64)
    return means / means.sum(axis=1, keepdims=True)


def red(images: Images) -> list[float]:
    """One probability for each."""
    return [float(image[0].mean()) for image in images]


def each_colour(images: Images) -> torch.Tensor:
    """A probability for each colour by itself."""
    return torch.from_numpy(images).mean(dim=(2, 3))


def logits(images: Images) -> Images:
    return 5 * images.mean(axis=(2, 3))


def missing(images: Images) -> Images:
    return np.full((len(images), 2), np.nan, np.float32)


def whole(images: Images) -> Images:
    return images


def text(images: Images) -> list[str]:
    return ["cat"] * len(images)


def broken(images: Images) -> Images:
    raise ConnectionError("the service is down")


def drawn(images: Images) -> NDArray[np.float64]:
    return np.random.default_rng().dirichlet([1, 1], len(images))


number = 3

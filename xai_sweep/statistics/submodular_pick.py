"""Which few images show most of what the explanations of many look at: submodular pick."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from xai_sweep.core.errors import InputError


@dataclass(frozen=True)
class Pick:
    """Images in the order in which they were picked.

    Attributes:
        indices: which rows of the matrix these are.
        gains: what each added to the coverage, as a part of what all images together cover; never
            more than the one before.
    """

    indices: tuple[int, ...]
    gains: tuple[float, ...]


def explanation_matrix(
    heatmaps: Float[ndarray, "n h w"], grid: int = 8, cells: int = 10
) -> Float[ndarray, "n d"]:
    """What each explanation finds important, in features that all images share.

    The features are the cells of a grid over the image, for superpixels differ from image to
    image. An image's weights are the mean of |relevance| in its strongest cells, 0 in the others,
    and sum to 1, so that an image with large logits does not count more than another; all are 0 if
    the heatmap is.

    Source: Ribeiro, Singh, Guestrin 2016, "Why should I trust you?", section 4, which leaves open
    what the features of images are; K = 10 features an explanation as there.

    Args:
        heatmaps: a finite one per image.
        grid: cells along each side.
        cells: the strongest so many of an image count; of equal ones the first.

    Returns:
        ``float64[N, grid ** 2]``, row by row of the grid.

    Raises:
        InputError: no cell, or more of them than pixels along a side.
    """
    height, width = heatmaps.shape[1:]
    if not 1 <= grid <= min(height, width):
        allowed = f"must be from 1 to {min(height, width)}, the heatmaps' smaller side"
        raise InputError("grid", grid, allowed)
    if cells < 1:
        raise InputError("cells", cells, "must be at least 1")
    along = _means(height, grid) @ np.abs(heatmaps).astype(np.float64)
    pooled = (along @ _means(width, grid).T).reshape(len(heatmaps), -1)
    strongest = np.argsort(-pooled, axis=1, kind="stable")[:, :cells]
    weights = np.zeros_like(pooled)
    np.put_along_axis(weights, strongest, np.take_along_axis(pooled, strongest, axis=1), axis=1)
    total = weights.sum(axis=1, keepdims=True)
    scaled: ndarray = weights / np.where(total > 0, total, 1)
    return scaled


def submodular_pick(weights: Float[ndarray, "n d"], count: int) -> Pick:
    """Greedily the images that together cover the important features.

    A feature's importance is ``I_j = sqrt(sum_i |W_ij|)``; images cover those that have a weight
    in any of them. Each step takes the image that adds most importance, of equal ones the first,
    which covers at least 1 - 1/e of what the best so many images could. It ends early where no
    image adds anything.

    Source: Ribeiro, Singh, Guestrin 2016, "Why should I trust you?", section 4, algorithm 2.

    Args:
        weights: of every feature in every image, see `explanation_matrix`.
        count: how many images at most.

    Raises:
        InputError: less than one image.
    """
    if count < 1:
        raise InputError("count", count, "must be at least 1")
    has = weights != 0
    importance = np.sqrt(np.abs(weights).sum(axis=0))
    everything = float(importance.sum())
    missing = importance.copy()
    indices: list[int] = []
    gains: list[float] = []
    for _ in range(min(count, len(weights))):
        added = has @ missing
        best = int(added.argmax())
        if not added[best] > 0:
            break
        indices.append(best)
        gains.append(float(added[best]) / everything)
        missing[has[best]] = 0
    return Pick(tuple(indices), tuple(gains))


def _means(side: int, grid: int) -> Float[ndarray, "g s"]:
    """Takes the mean over each of the equal parts of a side."""
    part = np.arange(side) * grid // side
    inside = (part == np.arange(grid)[:, None]).astype(np.float64)
    means: ndarray = inside / inside.sum(axis=1, keepdims=True)
    return means

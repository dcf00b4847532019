"""The metrics again, in float64, pixel by pixel, straight from their definitions."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


def rmse(new: Map, reference: Map, region: Mask) -> float:
    """M. Heggen, University of Oslo, 2021, eq. 7.1."""
    a, b = new[region], reference[region]
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / len(a))


def nrmse(new: Map, reference: Map, region: Mask) -> float:
    """Both maps divided by the reference's root mean square, then eq. 7.1."""
    scale = math.sqrt(np.mean(reference[region] ** 2))
    return rmse(new / scale, reference / scale, region)


def cosine(new: Map, reference: Map, region: Mask) -> float:
    """Inner product of the maps as unit vectors."""
    a, b = new[region], reference[region]
    return float(np.dot(a / np.linalg.norm(a), b / np.linalg.norm(b)))


def pearson(new: Map, reference: Map, region: Mask) -> float:
    """Cosine of the maps less their means."""
    return cosine(new - new[region].mean(), reference - reference[region].mean(), region)


def spearman(new: Map, reference: Map, region: Mask) -> float:
    """Pearson of the exact ranks."""
    return float(stats.spearmanr(new[region], reference[region]).statistic)


def topk_iou(new: Map, reference: Map, region: Mask, share: float = 0.05) -> float:
    """Overlap of the pixels whose exact mean rank is above n - k."""
    n = int(region.sum())
    k = max(1, round(share * n))
    a = {i for i, rank in enumerate(stats.rankdata(new[region])) if rank > n - k}
    b = {i for i, rank in enumerate(stats.rankdata(reference[region])) if rank > n - k}
    return len(a & b) / len(a | b) if a | b else math.nan


def ssim(new: Map, reference: Map, region: Mask) -> float:
    """Wang et al. 2004, eq. 13 and 17: a window of 11 x 11, of which only valid pixels count."""
    height, width = region.shape
    data_range = reference[region].max() - reference[region].min()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for row, column in np.argwhere(region):
        weights, x, y = [], [], []
        for i in range(max(0, row - 5), min(height, row + 6)):
            for j in range(max(0, column - 5), min(width, column + 6)):
                if region[i, j]:
                    distance = (i - row) ** 2 + (j - column) ** 2
                    weights.append(math.exp(-distance / (2 * 1.5**2)))
                    x.append(new[i, j])
                    y.append(reference[i, j])
        w = np.array(weights) / sum(weights)
        mean_x, mean_y = np.dot(w, x), np.dot(w, y)
        dx, dy = np.array(x) - mean_x, np.array(y) - mean_y
        var_x, var_y, cov = np.dot(w, dx * dx), np.dot(w, dy * dy), np.dot(w, dx * dy)
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        values.append(luminance * (2 * cov + c2) / (var_x + var_y + c2))
    return float(np.mean(values))


def euclidean(new: Map, reference: Map, region: Mask) -> float:
    """Length of the difference as a vector."""
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(new[region], reference[region], strict=True)))


def gini(heatmap: Map, region: Mask) -> float:
    """Half the mean difference of all pairs of absolute values, in units of their mean."""
    values = np.abs(heatmap[region])
    return float(np.abs(values[:, None] - values).mean() / (2 * values.mean()))


def pointing_game(heatmap: Map, target: Mask, region: Mask, tolerance: float = 0) -> float:
    """Zhang et al. 2016, 4.2: which of the largest positive pixels lie on or near the target."""
    places = [tuple(place) for place in np.argwhere(region)]
    objects = [tuple(place) for place in np.argwhere(region & target)]
    hitting = {
        (i, j) for i, j in places if any(math.hypot(i - k, j - m) <= tolerance for k, m in objects)
    }
    values = [heatmap[place] for place in places]
    if not hitting or len(hitting) == len(places) or max(values) <= 0 or len(set(values)) == 1:
        return math.nan
    largest = [place for place in places if heatmap[place] == max(values)]
    return sum(place in hitting for place in largest) / len(largest)


def area_in_order(
    probability: Callable[[Map], float], first: Map, last: Map, order: list[int], steps: int
) -> float:
    """Petsiuk et al. 2018: pixels of ``[C, H, W]`` change from first to last, one after the other.

    Args:
        probability: what the network says of an image.
        order: pixels by their flat index, the most relevant first.
        steps: of the curve, which has one point more.
    """
    pixels = first[0].size
    points = []
    for step in range(steps + 1):
        changed = round(step * pixels / steps)
        image = first.copy()
        for pixel in order[:changed]:
            row, column = divmod(pixel, first.shape[2])
            image[:, row, column] = last[:, row, column]
        points.append((changed / pixels, probability(image)))
    return sum((b - a) * (p + q) / 2 for (a, p), (b, q) in pairwise(points))

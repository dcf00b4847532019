"""Structural similarity."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float32, Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Distance
from xai_sweep.metrics.maps import Maps, per_map, total
from xai_sweep.metrics.pairs import Pairs

K1, K2, SIGMA, REACH = 0.01, 0.03, 1.5, 5


@dataclass(frozen=True)
class SSIM(Distance):
    """Mean structural similarity over the region, by a Gaussian window of 11 x 11, sigma 1.5.

    Means, variances and covariance around a pixel come from the valid pixels of its window only.
    The data range is that of the reference over the region; undefined if the reference is constant.
    """

    column: ClassVar[Column] = Column(
        "ssim",
        "Mean structural similarity over the region, Gaussian window of 11 x 11 pixels.",
        better="higher",
        null="the reference is constant",
        source="Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13, 2004, eq. 13 and 17",
    )

    @override
    def between(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        values = torch.where(pairs.b.spread > 0, total(similarity(pairs)), torch.nan)
        return values / pairs.count


def similarity(pairs: Pairs) -> Float32[Tensor, "*p h w"]:
    """Structural similarity around each valid pixel, eq. 13; 0 outside."""
    weights, spread = pairs.weights, pairs.b.spread
    c1, c2 = per_map((K1 * spread) ** 2), per_map((K2 * spread) ** 2)
    (x, x_offset), (y, y_offset) = _without_offset(pairs, pairs.a), _without_offset(pairs, pairs.b)

    norm = weights / blur(weights).clamp(min=1e-6)
    mean_x, mean_y = blur(x).mul_(norm), blur(y).mul_(norm)
    variances = blur(x.square().addcmul_(y, y)).mul_(norm)
    variances.addcmul_(mean_x, mean_x, value=-1).addcmul_(mean_y, mean_y, value=-1).clamp_(min=0)
    # 2 cov(x, y) = var(x) + var(y) - var(x - y): so what is equal is equal exactly.
    difference = blur((x - y).square_()).mul_(norm)
    apart = mean_x - mean_y
    difference.addcmul_(apart, apart, value=-1).clamp_(min=0)
    structure = difference.div_(variances.add_(c2)).neg_().add_(1)

    mean_x.add_(x_offset)
    mean_y.add_(y_offset)
    torch.sub(mean_x, mean_y, out=apart)
    apart.square_().div_(mean_x.square_().addcmul_(mean_y, mean_y).add_(c1))
    return structure.mul_(apart.neg_().add_(1)).mul_(weights)


def blur(maps: Float32[Tensor, "*p h w"]) -> Float32[Tensor, "*p h w"]:
    """Gaussian weighted sum around each pixel; beyond the border there is nothing to add.

    Shifted additions give the same digits for any number of maps and on any device, which a
    convolution does not (its algorithm depends on both), and take about as long.
    """
    for axis in (-2, -1):
        maps = _blur_along(maps, axis)
    return maps


def _blur_along(maps: Float32[Tensor, "*p h w"], axis: int) -> Float32[Tensor, "*p h w"]:
    taps = [math.exp(-((distance / SIGMA) ** 2) / 2) for distance in range(REACH + 1)]
    norm = 2 * sum(taps) - taps[0]
    length = maps.shape[axis]
    blurred = maps * (taps[0] / norm)
    for distance in range(1, min(REACH + 1, length)):
        tap, rest = taps[distance] / norm, length - distance
        head, tail = maps.narrow(axis, 0, rest), maps.narrow(axis, distance, rest)
        blurred.narrow(axis, distance, rest).add_(head, alpha=tap)
        blurred.narrow(axis, 0, rest).add_(tail, alpha=tap)
    return blurred


def _without_offset(
    pairs: Pairs, maps: Maps
) -> tuple[Float32[Tensor, "*p h w"], Float32[Tensor, "*p 1 1"]]:
    """Maps in the reference's units, freed of an offset larger than their structure; the offset.

    Otherwise ``mean(x^2) - mean(x)^2`` would lose the structure's digits. Maps around zero stay as
    they are, because there the flat parts are zeros, which are exact.
    """
    values = maps.in_units_of(pairs.b.exponent)
    is_larger = maps.mean.square() > 0.5 * maps.rms.square()
    mean = total(values) / maps.count.clamp(min=1)
    offset = per_map(torch.where(is_larger, mean, 0))
    return values.addcmul_(pairs.weights, offset, value=-1), offset

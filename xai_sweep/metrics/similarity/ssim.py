"""Structural similarity."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Distance
from xai_sweep.metrics.maps import Maps, per_map, total
from xai_sweep.metrics.pairs import Pairs

K1, K2, SIGMA, REACH = 0.01, 0.03, 1.5, 5
HAS_FAST_CONVOLUTION: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


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
    """Structural similarity around each valid pixel, eq. 13; 0 outside.

    With u = y + x and v = y - x, luminance is ``mean(u)^2 - mean(v)^2 + 2 C1`` over
    ``mean(u)^2 + mean(v)^2 + 2 C1``, and contrast times structure is the same of the variances
    with C2. Equal maps are equal exactly, because v is zero.
    """
    u, v, offsets = _sum_and_difference(pairs)
    norm = pairs.weights / blur(pairs.weights).clamp_(min=1e-6)
    mean_u, mean_v = blur(u).mul_(norm), blur(v).mul_(norm)
    variance_u = blur(u.square_()).mul_(norm).addcmul_(mean_u, mean_u, value=-1).clamp_(min=0)
    variance_v = blur(v.square_()).mul_(norm).addcmul_(mean_v, mean_v, value=-1).clamp_(min=0)
    if offsets is not None:
        mean_u.add_(offsets[0])
        mean_v.add_(offsets[1])

    c1, c2 = (per_map((k * pairs.b.spread) ** 2) for k in (K1, K2))
    luminance = _ratio(mean_u.square_(), mean_v.square_(), 2 * c1)
    return luminance.mul_(_ratio(variance_u, variance_v, 2 * c2)).mul_(pairs.weights)


def _ratio(
    a: Float32[Tensor, "*p h w"], b: Float32[Tensor, "*p h w"], c: Float32[Tensor, "*p 1 1"]
) -> Float32[Tensor, "*p h w"]:
    """``(a - b + c) / (a + b + c)``; overwrites a."""
    difference = torch.sub(a, b).add_(c)
    return difference.div_(a.add_(b).add_(c))


def _sum_and_difference(
    pairs: Pairs,
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """Reference plus and minus new map in the reference's units, and what was subtracted of both.

    Maps are freed of an offset larger than their structure: otherwise ``mean(x^2) - mean(x)^2``
    would lose the structure's digits. Maps around zero stay as they are, because there the flat
    parts are zeros, which are exact.
    """
    x, y = pairs.a.in_units_of(pairs.b.exponent), pairs.b.values
    offsets = [_offset(maps, values) for maps, values in ((pairs.a, x), (pairs.b, y))]
    x_offset, y_offset = offsets
    if x_offset is None and y_offset is None:
        return y + x, y - x, None
    zero = per_map(torch.zeros_like(pairs.b.mean))
    x_offset = zero if x_offset is None else x_offset
    y_offset = zero if y_offset is None else y_offset
    x = torch.addcmul(x, pairs.weights, x_offset, value=-1)
    y = torch.addcmul(y, pairs.weights, y_offset, value=-1)
    return y + x, y - x, (y_offset + x_offset, y_offset - x_offset)


def _offset(maps: Maps, values: Float32[Tensor, "*p h w"]) -> Float32[Tensor, "*p 1 1"] | None:
    """The mean of maps that hardly vary around it, 0 of others; None if there are only others."""
    is_larger = maps.mean.square() > 0.5 * maps.rms.square()
    if not is_larger.any():
        return None
    return per_map(torch.where(is_larger, total(values) / maps.count.clamp(min=1), 0))


def blur(maps: Float32[Tensor, "*p h w"]) -> Float32[Tensor, "*p h w"]:
    """Gaussian weighted sum around each pixel; nothing is added from beyond the border."""
    if maps.device.type == "cpu" and min(maps.shape[-2:]) > 2 * REACH and HAS_FAST_CONVOLUTION:
        return _blur_on_cpu(maps)
    for axis in (-2, -1):
        maps = _blur_along(maps, axis)
    return maps


def _blur_on_cpu(maps: Float32[Tensor, "*p h w"]) -> Float32[Tensor, "*p h w"]:
    """The blur along one axis, as convolutions whose channels are the rows of the other axis.

    Such a convolution computes many channels at once, and in the same way for any number of maps,
    so that digits do not depend on it. It takes half the time of shifted additions.
    """
    height, width = maps.shape[-2:]
    blurred: Tensor = maps.reshape(-1, height, width)
    for side in (width, height):
        # From [n, h, w] to [n, w, 1, h], and the second time back.
        channels = blurred.mT[:, :, None]
        blurred = F.conv2d(channels, _windows(side), padding=(0, REACH), groups=side)[:, :, 0]
    return blurred.reshape(maps.shape)


def _blur_along(maps: Float32[Tensor, "*p h w"], axis: int) -> Float32[Tensor, "*p h w"]:
    """The blur along one axis, by shifted additions.

    They give the same digits for any number of maps and on any device, which convolutions do not in
    general: their algorithm depends on both.
    """
    taps = _taps()[REACH:]
    length = maps.shape[axis]
    blurred: Tensor = maps * taps[0]
    for distance in range(1, min(REACH + 1, length)):
        tap, rest = taps[distance], length - distance
        head, tail = maps.narrow(axis, 0, rest), maps.narrow(axis, distance, rest)
        blurred.narrow(axis, distance, rest).add_(head, alpha=tap)
        blurred.narrow(axis, 0, rest).add_(tail, alpha=tap)
    return blurred


def _taps() -> list[float]:
    """The Gaussian window along one axis."""
    taps = [math.exp(-((distance / SIGMA) ** 2) / 2) for distance in range(-REACH, REACH + 1)]
    return [tap / sum(taps) for tap in taps]


@lru_cache(maxsize=8)
def _windows(channels: int) -> Float32[Tensor, "channels 1 1 taps"]:
    """The window for each channel of a convolution."""
    return torch.tensor(_taps()).repeat(channels, 1, 1, 1)

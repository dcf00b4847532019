"""Enlargement about the image's centre."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float32, Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.transforms.base import Geometric, Parameter


@dataclass(frozen=True)
class Zoom(Geometric):
    """Enlargement about the centre by a factor, bilinear; the image keeps its size.

    Above 1 the outer part of the image leaves the frame; below 1 the image shrinks and fill comes
    in from outside. A moved heatmap keeps its values, relevance per pixel; its sum changes.

    No low-pass filter is applied when the image shrinks: image and heatmap go through the same
    interpolation, and a filter would be a second change beside the zoom. Below a factor of about
    1/2 pixels are skipped, and fine texture aliases.
    """

    parameter: ClassVar[Parameter] = Parameter("factor", "times", neutral=1, above=0)

    @override
    def sources(
        self, magnitudes: Float64[Tensor, " b"], size: tuple[int, int], inverse: bool = False
    ) -> Float32[Tensor, "b h w 2"]:
        height, width = size
        step = (magnitudes if inverse else 1 / magnitudes)[:, None]
        step = step.clamp(max=1e6)  # everything but the centre is far outside, and nothing is inf
        x = torch.arange(width, device=step.device) - (width - 1) / 2
        y = torch.arange(height, device=step.device) - (height - 1) / 2
        sources = torch.empty(len(step), height, width, 2, device=step.device)
        sources[..., 0] = (step * (x / (width / 2)))[:, None, :]
        sources[..., 1] = (step * (y / (height / 2)))[:, :, None]
        return sources

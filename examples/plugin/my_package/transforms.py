"""A geometric transform, by the one method that says where pixels come from."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float32, Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.transforms.base import Geometric, Parameter


@dataclass(frozen=True)
class Slant(Geometric):
    """Shear along the horizontal axis about the centre: uprights lean by so many degrees."""

    parameter: ClassVar[Parameter] = Parameter("lean", "degrees", minimum=-80, maximum=80)

    @override
    def sources(
        self, magnitudes: Float64[Tensor, " b"], size: tuple[int, int], inverse: bool = False
    ) -> Float32[Tensor, "b h w 2"]:
        height, width = size
        device = magnitudes.device
        x = torch.arange(width, device=device) - (width - 1) / 2
        y = (torch.arange(height, device=device) - (height - 1) / 2)[:, None]
        slope = (magnitudes * math.pi / 180).tan().float()[:, None, None]
        moved = x + (-slope if inverse else slope) * y
        # In units of half the frame.
        return torch.stack([moved * (2 / width), (y * (2 / height)).expand_as(moved)], dim=-1)

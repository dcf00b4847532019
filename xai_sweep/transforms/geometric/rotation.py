"""Rotation about the image's centre, counter-clockwise."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float32, Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.transforms.base import Geometric, Parameter


@dataclass(frozen=True)
class Rotation(Geometric):
    """Rotation about the centre, bilinear; the digits are those of torchvision's rotate."""

    parameter: ClassVar[Parameter] = Parameter("angle", "degrees")

    @override
    def sources(
        self, magnitudes: Float64[Tensor, " b"], size: tuple[int, int], inverse: bool = False
    ) -> Float32[Tensor, "b h w 2"]:
        height, width = size
        turn = (-magnitudes if inverse else magnitudes).deg2rad()[:, None, None]
        cosine, sine = turn.cos().float(), turn.sin().float()
        device = magnitudes.device
        x = torch.arange(width, device=device) - (width - 1) / 2
        y = (torch.arange(height, device=device) - (height - 1) / 2)[:, None]
        half_width, half_height = width / 2, height / 2
        sources = torch.empty(len(turn), height, width, 2, device=device)
        torch.add(x * (cosine / half_width), y * (-sine / half_width), out=sources[..., 0])
        torch.add(x * (sine / half_height), y * (cosine / half_height), out=sources[..., 1])
        return sources

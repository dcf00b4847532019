"""Rotation about the image's centre, counter-clockwise."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from xai_sweep.core.errors import InputError
from xai_sweep.models.classifier import Normalisation
from xai_sweep.transforms.base import Geometric, as_magnitudes

FILLS = ("mean", "edge", "reflect", "constant")


@dataclass(frozen=True)
class Rotation(Geometric):
    """Rotation with bilinear interpolation by torchvision; multiples of 90 degrees are exact.

    Attributes:
        angle: a number or a list of numbers, in degrees.
        fill: what fills the corners: ``mean``, the mean colour of the model's normalisation;
            ``edge``, the nearest pixel of the image; ``reflect``, the image mirrored at its edge;
            ``constant``, the colour ``fill_value``.
        fill_value: grey level in [0, 1], for ``fill=constant``.
    """

    angle: Any
    fill: str = "mean"
    fill_value: Any = 0.5

    parameter: ClassVar[str] = "angle"
    unit: ClassVar[str] = "degrees"

    def __post_init__(self) -> None:
        object.__setattr__(self, "angle", as_magnitudes("angle", self.angle, "degrees"))
        if self.fill not in FILLS:
            raise InputError("transform.fill", self.fill, f"must be one of {', '.join(FILLS)}")
        is_level = isinstance(self.fill_value, int | float) and 0 <= self.fill_value <= 1
        if not is_level:
            raise InputError("transform.fill_value", self.fill_value, "must be within [0, 1]")

    @property
    def magnitudes(self) -> tuple[float, ...]:
        """See `Transform.magnitudes`."""
        return tuple(self.angle)

    def apply(
        self,
        images: Float[Tensor, "b c h w"],
        magnitudes: Float[Tensor, " b"],
        seeds: Int64[Tensor, " b"],
        space: Normalisation,
    ) -> Float[Tensor, "b c h w"]:
        """See `Transform.apply`."""
        height, width = images.shape[-2:]
        if self.fill in ("edge", "reflect"):
            # The frame around the image that a rotation can bring into view.
            pad = math.ceil((math.hypot(height, width) - min(height, width)) / 2) + 1
            padded = _rotate(tv.pad(images, [pad], padding_mode=self.fill), magnitudes)
            return padded[..., pad:-pad, pad:-pad].contiguous()
        rotated = _rotate(images, magnitudes)  # filled with 0, which is the mean colour
        if self.fill == "constant":
            level = space.to_normalised(images.new_full((len(space.mean), 1, 1), self.fill_value))
            covered = _rotate(images.new_ones(len(images), 1, height, width), magnitudes)
            return level.lerp(rotated, covered)
        return rotated

    def move(
        self, maps: Float[Tensor, "b k h w"], magnitudes: Float[Tensor, " b"]
    ) -> Float[Tensor, "b k h w"]:
        """See `Geometric.move`."""
        return _rotate(maps, magnitudes)

    def move_back(
        self, maps: Float[Tensor, "b k h w"], magnitudes: Float[Tensor, " b"]
    ) -> Float[Tensor, "b k h w"]:
        """See `Geometric.move_back`."""
        return _rotate(maps, -magnitudes)


def _rotate(
    images: Float[Tensor, "b c h w"], angles: Float[Tensor, " b"]
) -> Float[Tensor, "b c h w"]:
    """Rotate each image by its own angle, zero coming in.

    The digits are those of torchvision's rotate, which takes one angle per call.
    """
    height, width = images.shape[-2:]
    grid = _sources(angles, height, width).to(images)
    rotated = F.grid_sample(images, grid, mode="bilinear", align_corners=False)
    for index, angle in enumerate(angles.tolist()):
        quarters, rest = divmod(angle, 90)
        if rest == 0 and (height == width or quarters % 2 == 0):
            rotated[index] = images[index].rot90(int(quarters), (-2, -1))
    return rotated


def _sources(angles: Float[Tensor, " b"], height: int, width: int) -> Float[Tensor, "b h w 2"]:
    """Where each pixel comes from, (x, y) in units of the half frame, (0, 0) its centre."""
    turn = angles.deg2rad()[:, None, None]
    cosine, sine = turn.cos().float(), turn.sin().float()
    x = torch.arange(width, device=angles.device) - (width - 1) / 2
    y = (torch.arange(height, device=angles.device) - (height - 1) / 2)[:, None]
    half_width, half_height = width / 2, height / 2
    sources = torch.empty(len(angles), height, width, 2, device=angles.device)
    torch.add(x * (cosine / half_width), y * (-sine / half_width), out=sources[..., 0])
    torch.add(x * (sine / half_height), y * (cosine / half_height), out=sources[..., 1])
    return sources

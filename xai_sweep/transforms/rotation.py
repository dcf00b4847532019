"""Rotation about the image's centre, counter-clockwise."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from xai_sweep.errors import InputError
from xai_sweep.models.classifier import Normalisation
from xai_sweep.transforms.base import Geometric, as_magnitudes, by_magnitude

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
        if self.fill in ("edge", "reflect"):
            return _each(images, magnitudes, self._rotate_padded)
        level = images.new_full((len(space.mean), 1, 1), self.fill_value)
        fill = space.to_normalised(level).flatten().tolist() if self.fill == "constant" else 0.0
        return _each(images, magnitudes, lambda some, angle: _rotate(some, angle, fill))

    def _rotate_padded(self, images: Tensor, angle: float) -> Tensor:
        height, width = images.shape[-2:]
        # The frame around the image that a rotation can bring into view.
        pad = math.ceil((math.hypot(height, width) - min(height, width)) / 2) + 1
        padded = tv.pad(images, [pad], padding_mode=self.fill)
        cropped: Tensor = tv.center_crop(_rotate(padded, angle, 0.0), [height, width])
        return cropped

    def move(
        self, maps: Float[Tensor, "b k h w"], magnitudes: Float[Tensor, " b"]
    ) -> Float[Tensor, "b k h w"]:
        """See `Geometric.move`."""
        return _each(maps, magnitudes, lambda some, angle: _rotate(some, angle, 0.0))

    def move_back(
        self, maps: Float[Tensor, "b k h w"], magnitudes: Float[Tensor, " b"]
    ) -> Float[Tensor, "b k h w"]:
        """See `Geometric.move_back`."""
        return self.move(maps, -magnitudes)


def _rotate(images: Tensor, angle: float, fill: float | list[float]) -> Tensor:
    # Zero is what torchvision fills with anyway, at half the cost of being told so.
    rotated: Tensor = tv.rotate(images, angle, InterpolationMode.BILINEAR, fill=fill or None)
    return rotated


def _each(images: Tensor, magnitudes: Tensor, rotate: Callable[[Tensor, float], Tensor]) -> Tensor:
    """Rotate by one call per distinct angle, because torchvision takes one angle per call."""
    rotated = torch.empty_like(images)
    for angle, chosen in by_magnitude(magnitudes):
        rotated[chosen] = rotate(images[chosen], angle)
    return rotated

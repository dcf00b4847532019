"""How an image is changed, and how its reference heatmap moves along.

A transform is a value with one native parameter, whose numbers are the magnitudes. It knows
nothing of explainers, and its images are tensors in the model's normalised space.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from numbers import Real
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.models.classifier import Normalisation


class Transform(ABC):
    """A change of the image.

    Class attributes:
        parameter: the name of the native parameter.
        unit: its unit, as written on an axis.
        is_geometric: whether pixels move, and the reference heatmap with them.
    """

    parameter: ClassVar[str]
    unit: ClassVar[str]
    is_geometric: ClassVar[bool]

    @property
    @abstractmethod
    def magnitudes(self) -> tuple[float, ...]:
        """The native parameter's numbers, ascending, without repeats."""

    @abstractmethod
    def apply(
        self,
        images: Float[Tensor, "b c h w"],
        magnitudes: Float[Tensor, " b"],
        seeds: Int64[Tensor, " b"],
        space: Normalisation,
    ) -> Float[Tensor, "b c h w"]:
        """Change each image by its own magnitude.

        Args:
            images: ``[B, C, H, W]`` in normalised space.
            magnitudes: ``float64[B]`` in native units.
            seeds: ``int64[B]``, one per image, for transforms that draw. The same seed draws the
                same numbers whatever the magnitude, so curves share their noise.
            space: the normalisation of the images.
        """


class Photometric(Transform):
    """Keeps every pixel in its place, so the reference is compared as it is."""

    is_geometric = False


class Geometric(Transform):
    """Moves the pixels. The reference heatmap is moved along, and fill must not be compared."""

    is_geometric = True

    @abstractmethod
    def move(
        self, maps: Float[Tensor, "b k h w"], magnitudes: Float[Tensor, " b"]
    ) -> Float[Tensor, "b k h w"]:
        """Move heatmaps as `apply` moves images; zero where nothing comes from inside."""

    @abstractmethod
    def move_back(
        self, maps: Float[Tensor, "b k h w"], magnitudes: Float[Tensor, " b"]
    ) -> Float[Tensor, "b k h w"]:
        """The inverse of `move`, up to interpolation and what left the frame."""

    def move_labels(
        self, labels: Int64[Tensor, "b h w"], magnitudes: Float[Tensor, " b"]
    ) -> Int64[Tensor, "b h w"]:
        """Move labels as `apply` moves images, without mixing them.

        Each pixel takes the label of the nearest pixel that it comes from; -1 where more than
        half of it comes from outside.
        """
        height, width = labels.shape[-2:]
        rows, columns = torch.meshgrid(
            torch.arange(height, device=labels.device),
            torch.arange(width, device=labels.device),
            indexing="ij",
        )
        places = torch.stack([rows, columns, torch.ones_like(rows)]).float()
        moved = self.move(places.repeat(len(labels), 1, 1, 1), magnitudes)
        inside = moved[:, 2] >= 0.5
        # Interpolated places are exact, being linear; at the frame zeros are mixed in.
        row, column = (moved[:, :2] / moved[:, 2:].clamp(min=0.5)).round().long().unbind(1)
        source = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        taken = labels.flatten(1).gather(1, source.flatten(1)).view_as(labels)
        return torch.where(inside, taken, -1)


def as_magnitudes(
    key: str, value: Any, unit: str, *, minimum: float = -math.inf
) -> tuple[float, ...]:
    """A number, or a list of numbers, as ascending magnitudes without repeats.

    Raises:
        InputError: naming ``transform.<key>``.
    """
    several = isinstance(value, Iterable) and not isinstance(value, str)
    values = list(value) if several else [value]
    for number in values:
        is_number = isinstance(number, Real) and not isinstance(number, bool)
        if not is_number or not math.isfinite(number) or number < minimum:
            least = "" if minimum == -math.inf else f" of at least {minimum:g}"
            raise InputError(
                f"transform.{key}", value, f"must be a number{least}, or a list of them [{unit}]"
            )
    if not values:
        raise InputError(f"transform.{key}", value, f"must hold at least one number [{unit}]")
    return tuple(sorted({float(number) for number in values}))

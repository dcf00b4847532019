"""How a geometric transform moves pixels; heatmaps, labels, boxes and regions move with them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor
from typing_extensions import override

# Sources this close to a pixel's centre, in pixels, are that pixel: rounding in float32 is below.
_EXACT = 1e-4


class Motion(ABC):
    """Moves what belongs to a batch of images, each by its own magnitude."""

    @abstractmethod
    def move(self, maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        """Move maps; zero where nothing comes from inside the frame."""

    @abstractmethod
    def move_back(self, maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        """The inverse of `move`, up to interpolation and what left the frame."""

    @abstractmethod
    def move_labels(self, labels: Int64[Tensor, "b h w"]) -> Int64[Tensor, "b h w"]:
        """Move labels without mixing them.

        Each pixel takes the label of the nearest pixel that it comes from; -1 where more than half
        of it comes from outside.
        """

    @abstractmethod
    def part(self, at: slice) -> "Motion":
        """The motion of some of the batch's images."""

    @abstractmethod
    def move_points(self, points: Float64[Tensor, "b n 2"]) -> Float64[Tensor, "b n 2"]:
        """Move points (x, y), in pixels from the frame's upper left corner."""

    def move_boxes(self, boxes: Float64[Tensor, "b n 4"]) -> Float64[Tensor, "b n 4"]:
        """The smallest upright boxes around the moved corners of boxes.

        Args:
            boxes: left, top, right, bottom, in pixels from the frame's upper left corner.
        """
        left, top, right, bottom = boxes.unbind(-1)
        corners = torch.stack([left, top, right, top, right, bottom, left, bottom], dim=-1)
        moved = self.move_points(corners.view(len(boxes), -1, 2)).view(*boxes.shape[:2], 4, 2)
        return torch.cat([moved.amin(dim=2), moved.amax(dim=2)], dim=-1)


class Still(Motion):
    """Every pixel stays in its place."""

    @override
    def move(self, maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        return maps

    @override
    def move_back(self, maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        return maps

    @override
    def move_labels(self, labels: Int64[Tensor, "b h w"]) -> Int64[Tensor, "b h w"]:
        return labels

    @override
    def move_points(self, points: Float64[Tensor, "b n 2"]) -> Float64[Tensor, "b n 2"]:
        return points

    @override
    def part(self, at: slice) -> Motion:
        return self


STILL = Still()


@dataclass(frozen=True, eq=False)
class Warp(Motion):
    """Every pixel takes what lies at its source, interpolated bilinearly.

    A motion that takes every pixel from the centre of a pixel (right angles, whole-pixel shifts)
    is exact: values are copied.

    Attributes:
        sources: where each pixel of the moved frame comes from.
        make_inverse: gives the same for the inverse motion, when it is first needed.
    """

    sources: Float32[Tensor, "b h w 2"]
    make_inverse: Callable[[], Float32[Tensor, "b h w 2"]]

    @cached_property
    def inverse(self) -> Float32[Tensor, "b h w 2"]:
        """Where each pixel goes to."""
        return self.make_inverse()

    @override
    def part(self, at: slice) -> Motion:
        return Warp(self.sources[at], lambda: self.inverse[at])

    @override
    def move(self, maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        return resample(maps, self.sources)

    @override
    def move_back(self, maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        return resample(maps, self.inverse)

    @override
    def move_labels(self, labels: Int64[Tensor, "b h w"]) -> Int64[Tensor, "b h w"]:
        height, width = labels.shape[-2:]
        x, y = pixels(self.sources).unbind(-1)
        # More than half of a pixel comes from outside where its source lies beyond the last one.
        inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
        column = x.round().long().clamp(0, width - 1)
        row = y.round().long().clamp(0, height - 1)
        taken = labels.flatten(1).gather(1, (row * width + column).flatten(1)).view_as(labels)
        return torch.where(inside, taken, -1)

    @override
    def move_points(self, points: Float64[Tensor, "b n 2"]) -> Float64[Tensor, "b n 2"]:
        # Where pixels go, read between their centres: exact for any affine motion.
        height, width = self.inverse.shape[1:3]
        goals = pixels(self.inverse).double() + 0.5
        at = points - 0.5
        column = at[..., 0].floor().clamp(0, max(width - 2, 0)).long()
        row = at[..., 1].floor().clamp(0, max(height - 2, 0)).long()
        right, below = (column + 1).clamp(max=width - 1), (row + 1).clamp(max=height - 1)
        each = torch.arange(len(points), device=points.device)[:, None]
        across, down = at[..., :1] - column[..., None], at[..., 1:] - row[..., None]
        upper = goals[each, row, column].lerp(goals[each, row, right], across)
        lower = goals[each, below, column].lerp(goals[each, below, right], across)
        return upper.lerp(lower, down)


def resample(
    images: Float[Tensor, "b c h w"], sources: Float32[Tensor, "b h w 2"]
) -> Float[Tensor, "b c h w"]:
    """Images with every pixel taken from its source, zero coming in from outside."""
    found = F.grid_sample(images, sources.to(images), mode="bilinear", align_corners=False)
    height, width = images.shape[-2:]
    places = pixels(sources)
    nearest = places.round()
    exact = ((places - nearest).abs().flatten(1).amax(dim=1) < _EXACT).tolist()
    for index, is_exact in enumerate(exact):
        if is_exact:
            x, y = nearest[index].long().unbind(-1)
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            taken = images[index][:, y.clamp(0, height - 1), x.clamp(0, width - 1)]
            found[index] = torch.where(inside, taken, 0)
    return found


def pixels(sources: Float32[Tensor, "b h w 2"]) -> Float32[Tensor, "b h w 2"]:
    """Sources as (column, row) of pixels, counted from 0 at the first pixel's centre."""
    height, width = sources.shape[1:3]
    size = sources.new_tensor([width, height])
    return (sources + 1) * (size / 2) - 0.5

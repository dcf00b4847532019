"""How a geometric transform moves pixels; heatmaps, labels, boxes and regions move with them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor
from typing_extensions import override

# Sources this close to a pixel's centre, in pixels, are that pixel. Rounding in float32 is below.
_EXACT = 1e-4

Outside = Literal["zero", "edge", "reflect"]


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

        Each pixel takes the label of the pixel nearest to its source; -1 where more than half of
        it comes from outside.
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

        Returns:
            Boxes in the same form. They may reach beyond the frame.
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
class Grid:
    """Where each pixel of a moved frame comes from.

    Attributes:
        sources: (x, y) in units of half the frame, (0, 0) its centre, as `grid_sample` takes them.
    """

    sources: Float32[Tensor, "b h w 2"]

    @property
    def pixels(self) -> Float32[Tensor, "b h w 2"]:
        """Sources as (column, row), counted from 0 at the first pixel's centre."""
        return self._in_pixels(self.sources)

    @cached_property
    def exact(self) -> tuple[bool, ...]:
        """Whether every pixel of an image comes from the centre of a pixel, so that it is copied.

        It is computed once, because the answer is needed on the CPU and a GPU has to wait for it.
        """
        # Most motions miss a centre in the first row already.
        first_row = _at_centres(self._in_pixels(self.sources[:, :1]))
        return _at_centres(self.pixels) if any(first_row) else first_row

    def part(self, at: slice) -> "Grid":
        """The sources of some of the batch's images."""
        part = Grid(self.sources[at])
        part.__dict__["exact"] = self.exact[at]
        return part

    def resample(
        self, images: Float[Tensor, "b c h w"], outside: Outside = "zero"
    ) -> Float[Tensor, "b c h w"]:
        """Images with every pixel taken from its source, bilinearly.

        Args:
            images: ``[B, C, H, W]`` of any floating type; positions are those of `sources`.
            outside: what lies outside the frame: zero, the nearest pixel, or the image mirrored at
                its outermost pixels.
        """
        sources = self._mirrored() if outside == "reflect" else self.sources
        if all(self.exact):
            found = torch.empty_like(images)
        else:
            # Half precision would misplace the sources, by a tenth of a pixel and more.
            dtype = torch.promote_types(images.dtype, torch.float32)
            found = F.grid_sample(
                images.to(dtype),
                sources.to(images.device, dtype),
                mode="bilinear",
                padding_mode="zeros" if outside == "zero" else "border",
                align_corners=False,
            ).to(images.dtype)
        for index, is_exact in enumerate(self.exact):
            if is_exact:
                found[index] = _copied(images[index], Grid(sources[index : index + 1]), outside)
        return found

    def nearest(self, labels: Int64[Tensor, "b h w"]) -> Int64[Tensor, "b h w"]:
        """The label of the pixel nearest to each source; -1 if less than half of it is inside."""
        height, width = labels.shape[-2:]
        x, y = self.pixels.to(labels.device).unbind(-1)
        inside = _share_inside(x, width) * _share_inside(y, height) >= 0.5
        column = x.round().long().clamp(0, width - 1)
        row = y.round().long().clamp(0, height - 1)
        taken = labels.flatten(1).gather(1, (row * width + column).flatten(1)).view_as(labels)
        return torch.where(inside, taken, -1)

    def _in_pixels(self, sources: Float32[Tensor, "b r w 2"]) -> Float32[Tensor, "b r w 2"]:
        height, width = self.sources.shape[1:3]
        size = sources.new_tensor([width, height])
        return (sources + 1) * (size / 2) - 0.5

    def _mirrored(self) -> Float32[Tensor, "b h w 2"]:
        """The sources folded into the frame, which is mirrored at its outermost pixels' centres."""
        height, width = self.sources.shape[1:3]
        size = self.sources.new_tensor([width, height])
        last = (size - 1) / size  # the centres of the outermost pixels
        period = torch.where(last > 0, 4 * last, 1)
        distance = (self.sources + last).remainder(period)
        folded = torch.minimum(distance, period - distance) - last
        return torch.where(last > 0, folded, 0)


def _at_centres(pixels: Float32[Tensor, "b r w 2"]) -> tuple[bool, ...]:
    """Whether all of an image's positions are centres of pixels."""
    distance = (pixels - pixels.round()).abs().flatten(1).amax(dim=1)
    return tuple((distance < _EXACT).tolist())


def _copied(image: Float[Tensor, "c h w"], grid: Grid, outside: Outside) -> Float[Tensor, "c h w"]:
    """An image whose pixels all come from the centre of one."""
    height, width = image.shape[-2:]
    x, y = grid.pixels[0].to(image.device).round().long().unbind(-1)
    taken = image[:, y.clamp(0, height - 1), x.clamp(0, width - 1)]
    if outside != "zero":
        return taken
    return torch.where((x >= 0) & (x < width) & (y >= 0) & (y < height), taken, 0)


def _share_inside(position: Float32[Tensor, "b h w"], size: int) -> Float32[Tensor, "b h w"]:
    """How much of a pixel's length around this position lies in the frame, along one axis."""
    return torch.minimum(position + 1, size - position).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Warp(Motion):
    """Every pixel takes what lies at its source, interpolated bilinearly.

    A motion that takes every pixel from the centre of a pixel (right angles, shifts by whole
    pixels, flips) is exact: values are copied.

    Attributes:
        grid: where each pixel of the moved frame comes from.
        make_inverse: gives the grid of the inverse motion, when it is first needed.
    """

    grid: Grid
    make_inverse: Callable[[], Grid]

    @cached_property
    def inverse(self) -> Grid:
        """Where each pixel of the frame goes to."""
        return self.make_inverse()

    @override
    def part(self, at: slice) -> Motion:
        return Warp(self.grid.part(at), lambda: self.inverse.part(at))

    @override
    def move(self, maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        return self.grid.resample(maps)

    @override
    def move_back(self, maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        return self.inverse.resample(maps)

    @override
    def move_labels(self, labels: Int64[Tensor, "b h w"]) -> Int64[Tensor, "b h w"]:
        return self.grid.nearest(labels)

    @override
    def move_points(self, points: Float64[Tensor, "b n 2"]) -> Float64[Tensor, "b n 2"]:
        # Where pixels go, read between their centres: exact for any affine motion.
        goals = self.inverse.pixels.to(points) + 0.5
        height, width = goals.shape[1:3]
        at = points - 0.5
        column = at[..., 0].floor().clamp(0, max(width - 2, 0)).long()
        row = at[..., 1].floor().clamp(0, max(height - 2, 0)).long()
        right, below = (column + 1).clamp(max=width - 1), (row + 1).clamp(max=height - 1)
        each = torch.arange(len(points), device=points.device)[:, None]
        across, down = at[..., :1] - column[..., None], at[..., 1:] - row[..., None]
        upper = goals[each, row, column].lerp(goals[each, row, right], across)
        lower = goals[each, below, column].lerp(goals[each, below, right], across)
        return upper.lerp(lower, down)

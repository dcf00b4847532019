"""Which part of the image each element of a value in the graph stands for.

A place is a box: an interval of the batch, of rows and of columns, in fractions. Convolutions and
poolings divide what their input covers into a grid; operations that only move elements move the
places with them, whether they permute axes, flatten maps to tokens, or cut windows and put them
together again; what mixes elements gives the box around their places. So nothing is assumed about
the order of a value's axes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

# Of the batch, of rows and of columns.
_AXES = 3
_CLOSE = 1e-6
Box: TypeAlias = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Places:
    """The place of every element of a value.

    Attributes:
        reach: six tensors of the value's shape: how far the box reaches towards the start of batch,
            rows and columns, ``2 - start``, and towards their end, ``1 + end``. So the box around
            several is their maximum, and zeros stand for no place at all: constants, padding.
    """

    reach: Box

    @property
    def shape(self) -> torch.Size:
        """Of the value."""
        return self.reach[0].shape

    def moved(self, move: Callable[[Tensor], Tensor]) -> "Places":
        """Where an operation moves the elements."""
        return Places(tuple(_repeated(move(part)) for part in self.reach))

    def stacked(self) -> Tensor:
        """All six together, with length 1 along axes that they do not vary on."""
        parts = [_compact(part) for part in self.reach]
        lengths = zip(*(part.shape for part in parts), strict=True)
        shape = [max(each) for each in lengths]
        return torch.stack([part.expand(shape) for part in parts])

    def varies(self, axis: int) -> bool:
        """Whether elements along this axis have different places."""
        return any(_repeated(part).stride(axis) for part in self.reach if part.shape[axis] > 1)

    def around(self, axes: Sequence[int], keepdim: bool = True) -> "Places":
        """The boxes around all elements along some axes."""
        return Places(tuple(_around(part, axes, keepdim) for part in self.reach))

    def everywhere(self, shape: Sequence[int]) -> "Places":
        """The box around all elements, for each element of another value."""
        return self.around(range(len(self.shape)), keepdim=False).expand(shape)

    def expand(self, shape: Sequence[int]) -> "Places":
        """Repeated to a larger shape, without memory."""
        return Places(tuple(part.expand(*shape) for part in self.reach))


def whole(shape: Sequence[int]) -> Places:
    """The places of an image's pixels, ``[B, C, H, W]``."""
    batch, _, height, width = shape
    edges = (grid(batch, 0), grid(height, 2), grid(width, 3))
    starts, ends = ([part[side] for part in edges] for side in (0, 1))
    return Places((*starts, *ends)).expand(shape)


def grid(length: int, axis: int, start: Any = 0.0, end: Any = 1.0) -> tuple[Tensor, Tensor]:
    """Reaches towards start and end of equal intervals, along one of four axes."""
    edges = torch.arange(length + 1, dtype=torch.float64) / length
    edges = start + (end - start) * edges.view([-1 if each == axis else 1 for each in range(4)])
    return 2 - edges.narrow(axis, 0, length), 1 + edges.narrow(axis, 1, length)


def together(first: Places, second: Places) -> Places:
    """The places of what is computed from two values, element by element.

    Where one of two boxes is inside the other, it is the place: a pixel times what the network saw
    everywhere is still this pixel. Different boxes give the box around both.
    """
    rank = max(len(first.shape), len(second.shape))
    a, b = (_of_rank(each.stacked(), rank) for each in (first, second))
    whole_a, whole_b = ((1,) * (rank - len(each.shape)) + each.shape for each in (first, second))
    shape = [max(pair) for pair in zip(whole_a, whole_b, strict=True)]
    is_inside = (a <= b + _CLOSE).all(dim=0) & (a > 0).all(dim=0)
    is_around = (b <= a + _CLOSE).all(dim=0) & (b > 0).all(dim=0)
    found = torch.where(is_inside, a, torch.where(is_around, b, torch.maximum(a, b)))
    return Places(tuple(found)).expand(shape)


def joined(parts: Sequence[Any]) -> Any:
    """Places from what an operation made of each of their tensors; a list for several results."""
    if isinstance(parts[0], Tensor):
        return Places(tuple(_repeated(part) for part in parts))
    return [joined(each) for each in zip(*parts, strict=True)]


def nowhere(shape: Sequence[int]) -> Places:
    """The places of constants."""
    return Places(tuple(torch.zeros((), dtype=torch.float64) for _ in range(2 * _AXES))).expand(
        shape
    )


def same(first: Places, second: Places) -> bool:
    """Whether two values have the same places."""
    return first.shape == second.shape and torch.equal(first.stacked(), second.stacked())


def regridded(places: Places, shape: Sequence[int]) -> Places:
    """The places of a convolution's or pooling's result, ``[B, C, H, W]``.

    What the input covers is divided evenly, as is usual for maps that are laid over the image. If
    the input is no regular grid along its last two axes, the result may come from anywhere.
    """
    box = places.around([1]).stacked()
    placed = (box > 0).all(dim=0, keepdim=True)
    # Each row of the map has one interval of rows, each column one of columns.
    rows = _profile(box[[1, 4]], placed, -1)
    columns = _profile(box[[2, 5]], placed, -2)
    if rows is None or columns is None or not placed.any():
        return places.everywhere(shape)
    made = [_divided(rows, shape[-2], -2), _divided(columns, shape[-1], -1)]
    if made[0] is None or made[1] is None:
        return places.everywhere(shape)
    batch = box[[0, 3]].amax(dim=(-3, -2, -1), keepdim=True)
    parts = [each for side in (0, 1) for each in (batch[side], made[0][side], made[1][side])]
    return Places(tuple(parts)).expand(shape)


def _profile(edges: Tensor, placed: Tensor, across: int) -> Tensor | None:
    """Intervals that do not change across an axis, padding left out; None if they do."""
    found = edges.amax(dim=across, keepdim=True)
    return found if ((edges - found).abs() < _CLOSE).where(placed, True).all() else None


def _divided(edges: Tensor, length: int, along: int) -> tuple[Tensor, Tensor] | None:
    """What intervals cover, divided into others; None if they are irregular."""
    start, end = 2 - edges[0], edges[1] - 1
    placed = (edges > 0).all(dim=0)
    first = start.where(placed, torch.inf).amin(dim=along, keepdim=True)
    last = end.where(placed, -torch.inf).amax(dim=along, keepdim=True)
    count = placed.sum(dim=along, keepdim=True)
    covered = last - first
    # One interval in several places: pooled before, and still without a place.
    is_one = (
        ((end - start - covered).abs() < _CLOSE).where(placed, True).all(dim=along, keepdim=True)
    )
    cell = covered / count
    number = placed.cumsum(dim=along) - 1
    off = ((start + end) / 2 - first - cell * (number + 0.5)).abs()
    if not ((off < cell / 2) | ~placed | is_one).all():
        return None
    # Less than one cell that is missing at the edge of the image was cut off to make sizes even.
    first = first.where((first > cell + _CLOSE) | is_one, 0)
    last = last.where((last < 1 - cell - _CLOSE) | is_one, 1)
    steps = torch.arange(length + 1, dtype=torch.float64) / length
    steps = steps.view([-1, 1] if along == -2 else [-1])
    made = first + (last - first) * steps
    starts = first.where(is_one, made.narrow(along, 0, length))
    ends = last.where(is_one, made.narrow(along, 1, length))
    exists = count > 0
    return (2 - starts).where(exists, 0), (1 + ends).where(exists, 0)


def _of_rank(stacked: Tensor, rank: int) -> Tensor:
    return stacked.view(len(stacked), *[1] * (rank + 1 - stacked.dim()), *stacked.shape[1:])


def _compact(part: Tensor) -> Tensor:
    """Without the repetitions of an expanded tensor: every such axis has length 1."""
    return part[tuple(slice(0, 1) if not step else slice(None) for step in part.stride())]


def _repeated(part: Tensor) -> Tensor:
    """The same tensor, expanded along axes on which it does not vary; most do not on channels."""
    small = _compact(part)
    for axis, length in enumerate(small.shape):
        first = small.narrow(axis, 0, 1)
        if length > 1 and (small == first).all():
            small = first
    return small.expand(part.shape)


def _around(part: Tensor, axes: Sequence[int], keepdim: bool) -> Tensor:
    axes = sorted({axis % part.dim() for axis in axes}) if part.dim() else []
    if not axes:
        return part
    small = _compact(part).amax(dim=axes, keepdim=True)
    found = small.expand([1 if axis in axes else size for axis, size in enumerate(part.shape)])
    return found if keepdim else found.squeeze(dim=axes)

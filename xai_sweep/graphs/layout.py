"""Where the pixels of a map lie in a value, whatever the order of its axes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from xai_sweep.graphs.places import Places


@dataclass(frozen=True, eq=False)
class Layout:
    """A value that holds one element for every cell of a grid over the image, in every channel.

    Attributes:
        size: height and width of the grid.
        batch: the axis along which images follow each other.
        channels: axes along which the place stays the same.
        pixels: the other axes; flattened in this order, the image's part of ``batch`` among them.
        order: positions in these of the grid's cells, row by row, ``int64[H W]``.
        others: how many positions are no cell: class and register tokens, padding.
    """

    size: tuple[int, int]
    batch: int
    channels: tuple[int, ...]
    pixels: tuple[int, ...]
    order: Tensor
    others: int

    def maps(self, value: Tensor, batch: int) -> Float[Tensor, "b n h w"]:
        """A value of this layout as maps, the tokens that are no pixels left out.

        Args:
            value: of the node, or its gradient.
            batch: how many images it holds.
        """
        before, after = value.shape[: self.batch], value.shape[self.batch + 1 :]
        value = value.reshape(*before, batch, -1, *after).movedim(self.batch, 0)
        value = value.permute(0, *(1 + axis for axis in (*self.channels, *self.pixels)))
        count = len(self.channels)
        shape = value.shape[1:]
        channels, pixels = shape[:count].numel(), shape[count:].numel()
        value = value.reshape(batch, channels, pixels)
        if self.order.numel() != pixels or (self.order.diff() != 1).any():
            value = value[:, :, self.order.to(value.device)]
        return value.reshape(batch, channels, *self.size)


def layout_of(places: Places) -> Layout | None:
    """The layout of a value; None if its elements are no map of more than one pixel.

    Args:
        places: for a batch of two.
    """
    box = places.stacked()
    axes = range(box.dim() - 1)
    box = box.expand(6, *(places.shape[a] if box.shape[1 + a] > 1 else 1 for a in axes))
    placed = (box > 0).all(dim=0)
    # Of the whole image: a class token, or a number for all pixels.
    placed &= (box[[1, 2, 4, 5]] < 2).any(dim=0)
    if not placed.any():
        return None
    for batch in axes:
        found = _of_one_image(box, placed, batch)
        if found is not None:
            return _layout(*found, batch)
    return None


def _of_one_image(box: Tensor, placed: Tensor, batch: int) -> tuple[Tensor, Tensor] | None:
    """Rows and columns of the first image's places; None if this is not the axis of images."""
    if box.shape[1 + batch] % 2:
        return None
    first, second = box.movedim(1 + batch, 1).chunk(2, dim=1)
    one, other = placed.movedim(batch, 0).chunk(2, dim=0)
    starts, ends = 2 - box[0], box[3] - 1
    image = ((starts == 0) & (ends == 0.5)).movedim(batch, 0).chunk(2, dim=0)
    after = ((starts == 0.5) & (ends == 1)).movedim(batch, 0).chunk(2, dim=0)
    in_order = image[0].where(one, True).all() and after[1].where(other, True).all()
    alike = torch.equal(one, other) and torch.equal(first[1:3], second[1:3])
    if not (in_order and alike and torch.equal(first[4:], second[4:])):
        return None
    edges = torch.stack([2 - first[1], first[4] - 1, 2 - first[2], first[5] - 1])
    return edges.movedim(1, 1 + batch), one.movedim(0, batch)


def _layout(edges: Tensor, placed: Tensor, batch: int) -> Layout | None:
    """The layout of one image's rows and columns, if they are a grid, each cell once."""
    axes = range(placed.dim())
    pixels = tuple(axis for axis in axes if placed.shape[axis] > 1)
    channels = tuple(axis for axis in axes if axis not in pixels)
    flat, is_cell = edges.flatten(1), placed.flatten()
    cells = is_cell.nonzero().flatten()
    centres = [(flat[at] + flat[at + 1])[cells].mul(5e5).round() for at in (0, 2)]
    rows, row = torch.unique(centres[0], return_inverse=True)
    columns, column = torch.unique(centres[1], return_inverse=True)
    height, width = len(rows), len(columns)
    number = row * width + column
    if len(cells) != height * width or height * width < 2 or (number.bincount() > 1).any():
        return None
    for found in (rows, columns):
        even = (torch.arange(len(found), dtype=torch.float64) + 0.5) / len(found)
        if ((found / 1e6 - even).abs() >= 0.5 / len(found)).any():
            return None
    return Layout(
        (height, width), batch, channels, pixels, cells[number.argsort()], len(is_cell) - len(cells)
    )

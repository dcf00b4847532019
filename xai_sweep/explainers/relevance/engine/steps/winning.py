"""Operations that choose among values: the winner takes all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.operations import shape_only
from xai_sweep.explainers.relevance.engine.steps.step import Step

aten = torch.ops.aten


@dataclass(eq=False, kw_only=True)
class MaxPool(Step):
    """All relevance goes to the maximum of each window."""

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        defaults: tuple[Any, ...] = (None, (), (), 0, 1, False)
        image, kernel, stride, padding, dilation, ceil = [*args, *defaults[len(args) :]]
        window = (kernel, stride or kernel, padding, dilation, ceil)
        value, indices = aten.max_pool2d_with_indices(image, *window)
        return value, (image.shape, window, indices)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        shape, window, indices = kept
        like = shape_only(message.values, shape)
        values = aten.max_pool2d_with_indices_backward(message.values, like, *window, indices)
        return [Message(values, message.is_relevance, is_owned=True)]


@dataclass(eq=False, kw_only=True)
class Winner(Step):
    """Values chosen by their size, along a dimension or in windows of a map.

    Attributes:
        compute: gives the chosen values and their indices.
        dim: the dimension; None if indices count the pixels of a map, row by row.
    """

    compute: Callable[..., tuple[Tensor, Tensor]]
    dim: int | None

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        value, indices = self.compute(*args, **kwargs)
        return value, (args[0].shape, indices)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        shape, indices = kept
        values, dim = message.values, self.dim
        whole = values.new_zeros(shape)
        if dim is None:
            flat = whole.flatten(-2).scatter_add_(-1, indices.flatten(-2), values.flatten(-2))
            return [Message(flat.view(shape), message.is_relevance, is_owned=True)]
        if values.dim() < len(shape):
            indices, values = indices.unsqueeze(dim), values.unsqueeze(dim)
        whole.scatter_add_(dim, indices, values)
        return [Message(whole, message.is_relevance, is_owned=True)]


@dataclass(eq=False, kw_only=True)
class Extreme(Step):
    """The largest or smallest value along some dimensions; those that are equal share alike."""

    compute: Callable[..., Tensor]

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        (image, *rest), value = args, self.compute(*args, **kwargs)
        dims = rest[0] if rest else kwargs.get("dim", [])
        dims = sorted(dim % image.dim() for dim in dims) or list(range(image.dim()))
        kept = [1 if dim in dims else length for dim, length in enumerate(image.shape)]
        wins = (image == value.reshape(kept)).to(image.dtype)
        return value, (kept, wins.div_(wins.sum(dims, keepdim=True)))

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        shape, weights = kept
        values = message.values.reshape(shape) * weights
        return [Message(values, message.is_relevance, is_owned=True)]


@dataclass(eq=False, kw_only=True)
class Larger(Step):
    """The larger or the smaller of two; those that are equal share alike.

    Attributes:
        compute: the operation.
        positions: of the inputs with relevance among the arguments; a constant absorbs.
    """

    compute: Callable[..., Tensor]
    positions: tuple[int, ...]

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        value = self.compute(*args, **kwargs)
        wins = [(arg == value).to(value.dtype) for arg in args[:2]]
        count = wins[0] + wins[1]
        weights = tuple(each.div_(count) for each in wins)
        return value, (weights, tuple(arg.shape for arg in args[:2]), value if accounts else None)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        weights, shapes, value = kept
        for position, weight in enumerate(weights):
            if ledger is not None and position not in self.positions:
                ledger.absorb(message.values, weight if message.is_relevance else weight * value)
        return [
            Message(
                (message.values * weights[position]).sum_to_size(shapes[position]),
                message.is_relevance,
                is_owned=True,
            )
            for position in self.positions
        ]

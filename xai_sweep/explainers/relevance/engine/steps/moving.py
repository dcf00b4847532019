"""Operations that only select or move values: views, concatenations, max pooling."""

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
class Move(Step):
    """Every output value is one of the input values: views, slices, constant padding.

    Attributes:
        back: the transposed operation, called with a message, the input's shape and the operation's
            further arguments.
    """

    compute: Callable[..., Tensor]
    back: Callable[..., Tensor]

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        return self.compute(*args, **kwargs), (args[0].shape, args[1:], kwargs)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        shape, args, kwargs = kept
        values = self.back(message.values, shape, *args, **kwargs)
        return [Message(values, message.is_relevance, message.is_owned)]


@dataclass(eq=False, kw_only=True)
class Concatenate(Step):
    """Each input gets the relevance of its own part.

    Attributes:
        positions: of the inputs with relevance among the parts.
    """

    positions: tuple[int, ...]

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        parts, dim = args[0], args[1] if len(args) > 1 else kwargs.get("dim", 0)
        return torch.cat(parts, dim), (dim, [part.shape[dim] for part in parts])

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        dim, lengths = kept
        parts = torch.split(message.values, lengths, dim)
        return [
            Message(parts[position], message.is_relevance, message.is_owned)
            for position in self.positions
        ]


@dataclass(eq=False, kw_only=True)
class MaxPool(Step):
    """All relevance goes to the maximum of each window (winner takes all)."""

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

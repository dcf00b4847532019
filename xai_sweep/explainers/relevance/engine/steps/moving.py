"""Operations that only move values: views, padding, concatenations."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.steps.step import Step


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
        return self.compute(*args, **kwargs), (args[0].shape, args[0].dtype, args[1:], kwargs)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        shape, dtype, args, kwargs = kept
        values = self.back(message.values, shape, *args, **kwargs).to(dtype)
        return [Message(values, message.is_relevance, message.is_owned)]


@dataclass(eq=False, kw_only=True)
class Pad(Move):
    """Padding with a constant, which absorbs what arrives at it.

    Attributes:
        value: the constant.
    """

    value: float = 0.0

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        (sent,) = super().backward(message, kept, ledger)
        weight = 1.0 if message.is_relevance else self.value
        # Nothing takes its relevance from a constant of minus infinity, the padding of a maximum.
        if ledger is not None and weight and math.isfinite(weight):
            ledger.absorb(message.values, weight)
            ledger.absorb(sent.values, -weight)
        return [sent]


@dataclass(eq=False, kw_only=True)
class Concatenate(Step):
    """Each input gets the relevance of its own part; constants absorb theirs.

    Attributes:
        positions: of the inputs with relevance among the parts.
        is_stack: the parts are put side by side along a new dimension.
    """

    positions: tuple[int, ...]
    is_stack: bool = False

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        parts, dim = args[0], args[1] if len(args) > 1 else kwargs.get("dim", 0)
        value = torch.stack(parts, dim) if self.is_stack else torch.cat(parts, dim)
        lengths = None if self.is_stack else [part.shape[dim] for part in parts]
        constants = [
            (number, None if self.takes_relevance else part)
            for number, part in enumerate(parts)
            if number not in self.positions
        ]
        return value, (dim, lengths, constants)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        dim, lengths, constants = kept
        values = message.values
        parts = values.unbind(dim) if lengths is None else torch.split(values, lengths, dim)
        if ledger is not None:
            for number, constant in constants:
                ledger.absorb(parts[number], 1.0 if constant is None else constant)
        return [
            Message(parts[position], message.is_relevance, message.is_owned)
            for position in self.positions
        ]

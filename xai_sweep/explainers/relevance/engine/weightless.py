"""The operations without weights: activations, sums, pools, gates, and what only moves values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xai_sweep.explainers.relevance.engine.splits import (
    amount,
    over,
    ratio,
    stabilised,
    unaccounted,
)
from xai_sweep.explainers.relevance.engine.steps import Ledger, Message, Step

aten = torch.ops.aten


@dataclass(eq=False, kw_only=True)
class Activation(Step):
    """An element-wise function: hands relevance on as it is, whatever its slope."""

    compute: Callable[..., Tensor]
    is_relu: bool = False

    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        """See `Step.forward`."""
        value = self.compute(*args, **kwargs)
        if self.takes_relevance:
            return value, None
        return value, value if self.is_relu else ratio(value, args[0])

    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        """See `Step.backward`."""
        if self.takes_relevance:
            return [message]
        values = message.where_positive(kept) if self.is_relu else message.times(kept)
        return [Message(values, is_owned=True)]


@dataclass(eq=False, kw_only=True)
class Move(Step):
    """Every output value is one of the input's: views, slices, constant padding.

    Attributes:
        back: from a message, the input's shape and the operation's further arguments.
    """

    compute: Callable[..., Tensor]
    back: Callable[..., Tensor]

    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        """See `Step.forward`."""
        return self.compute(*args, **kwargs), (args[0].shape, args[1:], kwargs)

    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        """See `Step.backward`."""
        shape, args, kwargs = kept
        values = self.back(message.values, shape, *args, **kwargs)
        return [Message(values, message.is_relevance, message.is_owned)]


@dataclass(eq=False, kw_only=True)
class Concatenate(Step):
    """Each input takes its own part of the relevance.

    Attributes:
        positions: of the inputs with relevance among the parts.
    """

    positions: tuple[int, ...]

    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        """See `Step.forward`."""
        parts, dim = args[0], args[1] if len(args) > 1 else kwargs.get("dim", 0)
        return torch.cat(parts, dim), (dim, [part.shape[dim] for part in parts])

    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        """See `Step.backward`."""
        dim, lengths = kept
        parts = torch.split(message.values, lengths, dim)
        return [
            Message(parts[position], message.is_relevance, message.is_owned)
            for position in self.positions
        ]


@dataclass(eq=False, kw_only=True)
class MaxPool(Step):
    """The winner takes all."""

    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        """See `Step.forward`."""
        defaults: tuple[Any, ...] = (None, (), (), 0, 1, False)
        image, kernel, stride, padding, dilation, ceil = [*args, *defaults[len(args) :]]
        window = (kernel, stride or kernel, padding, dilation, ceil)
        value, indices = aten.max_pool2d_with_indices(image, *window)
        return value, (image.shape, window, indices)

    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        """See `Step.backward`."""
        shape, window, indices = kept
        like = unwritten(message.values, shape)
        values = aten.max_pool2d_with_indices_backward(message.values, like, *window, indices)
        return [Message(values, message.is_relevance, is_owned=True)]


@dataclass(eq=False, kw_only=True)
class Sum(Step):
    """A linear operation with fixed weights: sums, means, average pools, upsampling, factors.

    Relevance is split in proportion to what the inputs contribute, or evenly.

    Attributes:
        compute: the operation.
        positions: of the inputs with relevance among the arguments.
        backs: for each of them, as `Move.back`, the transposed operation.
        stabilizer: added to the denominator with its sign.
        is_relative: the stabiliser counts in units of the mean absolute value in the same image.
        is_even: by the weights alone, as the rules flat and w_square do.
    """

    compute: Callable[..., Tensor]
    positions: tuple[int, ...] = (0,)
    backs: tuple[Callable[..., Tensor], ...]
    stabilizer: float = 0.0
    is_relative: bool = False
    is_even: bool = False

    @property
    def emits_relevance(self) -> bool:
        """See `Step.emits_relevance`."""
        return self.is_even

    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        """See `Step.forward`."""
        value = self.compute(*args, **kwargs)
        top = None if self.takes_relevance else value
        shapes = tuple(args[position].shape for position in self.positions)
        way = lost = None
        if self.is_even:
            ones = [
                torch.ones_like(arg) if position in self.positions else arg
                for position, arg in enumerate(args)
            ]
            way = ratio(top, self.compute(*ones, **kwargs))
        elif self.stabilizer:
            way = over(top, stabilised(value, amount(self.stabilizer, self.is_relative, value)))
        elif top is None:
            way = ratio(None, value)
        if way is not None and accounts and not self.is_even:
            lost = unaccounted(top, way, value, self.stabilizer)
        return value, (way, lost, shapes, args[1:], kwargs)

    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        """See `Step.backward`."""
        way, lost, shapes, args, kwargs = kept
        if ledger is not None and lost is not None:
            ledger.lose(message.values, lost)
        share = message.values if way is None else message.times(way)
        return [
            Message(back(share, shape, *args, **kwargs), self.is_even)
            for back, shape in zip(self.backs, shapes, strict=True)
        ]


@dataclass(eq=False, kw_only=True)
class Shift(Step):
    """A constant that is added or subtracted absorbs its part of the relevance, as a bias does."""

    compute: Callable[..., Tensor]
    sign: int = 1

    @property
    def emits_relevance(self) -> bool:
        """See `Step.emits_relevance`."""
        return False

    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        """See `Step.forward`."""
        value = self.compute(*args, **kwargs)
        changed = next(arg for arg in args if isinstance(arg, Tensor) and arg.shape == value.shape)
        way = ratio(None, value) if self.takes_relevance else None
        return value, (way, value - self.sign * changed if accounts else None)

    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        """See `Step.backward`."""
        way, constant = kept
        share = message.values if way is None else message.times(way)
        if ledger is not None:
            ledger.absorb(share, constant)
        return [Message(share if self.sign > 0 else -share, is_owned=message.is_owned)]


@dataclass(eq=False, kw_only=True)
class Factor(Step):
    """A product with a constant, or with a gate, which says how much passes and counts as one.

    Attributes:
        compute: the operation.
        position: of the input with relevance among the arguments.
        factor: from the arguments' values.
    """

    compute: Callable[..., Tensor]
    position: int = 0
    factor: Callable[..., Any]

    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        """See `Step.forward`."""
        factor = None if self.takes_relevance else self.factor(*args)
        return self.compute(*args, **kwargs), (args[self.position].shape, factor)

    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        """See `Step.backward`."""
        shape, factor = kept
        values = message.values if factor is None else message.times(factor)
        is_owned = factor is not None or message.is_owned
        return [Message(values.sum_to_size(shape), message.is_relevance, is_owned)]


@dataclass(eq=False, kw_only=True)
class LayerNorm(Step):
    """Mean and bias take their part, the standard deviation is a constant factor.

    Source: Ali et al. 2022, "XAI for transformers", arXiv:2202.07304, eq. 9.
    """

    @property
    def emits_relevance(self) -> bool:
        """See `Step.emits_relevance`."""
        return False

    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        """See `Step.forward`."""
        defaults = (None, None, None, None, 1e-5)
        inputs, shape, weight, bias, eps = (*args, *defaults[len(args) :])[:5]
        value, _, rstd = aten.native_layer_norm(inputs, shape, weight, bias, eps)
        factor = rstd if weight is None else rstd * weight
        way = ratio(None, value) if self.takes_relevance else None
        return value, (way, factor, bias, tuple(range(-len(shape), 0)))

    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        """See `Step.backward`."""
        way, factor, bias, dims = kept
        share = message.values if way is None else message.times(way)
        if ledger is not None and bias is not None:
            ledger.absorb(share, bias)
        scaled = share * factor
        return [Message(scaled - scaled.mean(dims, keepdim=True), is_owned=True)]


@dataclass(eq=False, kw_only=True)
class Gradient(Step):
    """An operation without a rule, on request: relevance is input times gradient.

    Attributes:
        compute: the operation.
        positions: of the inputs with relevance among the arguments.
    """

    compute: Callable[..., Tensor]
    positions: tuple[int, ...]

    @property
    def emits_relevance(self) -> bool:
        """See `Step.emits_relevance`."""
        return False

    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        """See `Step.forward`."""
        value = self.compute(*args, **kwargs)
        return value, (ratio(None, value) if self.takes_relevance else None, args, kwargs)

    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        """See `Step.backward`."""
        way, args, kwargs = kept
        share = message.values if way is None else message.times(way)
        leaves = [args[position].detach().requires_grad_() for position in self.positions]
        filled = list(args)
        for position, leaf in zip(self.positions, leaves, strict=True):
            filled[position] = leaf
        with torch.enable_grad():
            value = self.compute(*filled, **kwargs)
        return [Message(grad) for grad in torch.autograd.grad(value, leaves, share)]


def unwritten(like: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor that only lends its shape; its memory is never touched."""
    channels_last = len(shape) == 4 and like.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device, memory_format=layout)

"""Operations on every value by itself: activations, shifts, factors; and layer normalisation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.quotients import ratio
from xai_sweep.explainers.relevance.engine.steps.step import Step

aten = torch.ops.aten


@dataclass(eq=False, kw_only=True)
class Activation(Step):
    """An element-wise function: passes relevance on as it is, whatever its slope."""

    compute: Callable[..., Tensor]
    is_relu: bool = False

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        value = self.compute(*args, **kwargs)
        if self.takes_relevance:
            return value, None
        return value, value if self.is_relu else ratio(value, args[0])

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        if self.takes_relevance:
            return [message]
        values = message.where_positive(kept) if self.is_relu else message.times(kept)
        return [Message(values, is_owned=True)]


@dataclass(eq=False, kw_only=True)
class Shift(Step):
    """A constant is added or subtracted, and absorbs its part of the relevance as a bias does."""

    compute: Callable[..., Tensor]
    sign: int = 1

    @property
    @override
    def emits_relevance(self) -> bool:
        return False

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        value = self.compute(*args, **kwargs)
        changed = next(arg for arg in args if isinstance(arg, Tensor) and arg.shape == value.shape)
        scale = ratio(None, value) if self.takes_relevance else None
        return value, (scale, value - self.sign * changed if accounts else None)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        scale, constant = kept
        share = message.values if scale is None else message.times(scale)
        if ledger is not None:
            ledger.absorb(share, constant)
        return [Message(share if self.sign > 0 else -share, is_owned=message.is_owned)]


@dataclass(eq=False, kw_only=True)
class Factor(Step):
    """A product with a constant, or with a gate, which counts as a constant.

    Attributes:
        compute: the operation.
        position: of the input with relevance among the arguments.
        factor: computes the constant from the arguments' values.
    """

    compute: Callable[..., Tensor]
    position: int = 0
    factor: Callable[..., Any]

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        factor = None if self.takes_relevance else self.factor(*args)
        return self.compute(*args, **kwargs), (args[self.position].shape, factor)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        shape, factor = kept
        values = message.values if factor is None else message.times(factor)
        is_owned = factor is not None or message.is_owned
        return [Message(values.sum_to_size(shape), message.is_relevance, is_owned)]


@dataclass(eq=False, kw_only=True)
class LayerNorm(Step):
    """Mean and bias absorb their part, the standard deviation is a constant factor.

    Source: Ali et al. 2022, "XAI for transformers", arXiv:2202.07304, eq. 9.
    """

    @property
    @override
    def emits_relevance(self) -> bool:
        return False

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        defaults = (None, None, None, None, 1e-5)
        inputs, shape, weight, bias, eps = (*args, *defaults[len(args) :])[:5]
        value, _, rstd = aten.native_layer_norm(inputs, shape, weight, bias, eps)
        factor = rstd if weight is None else rstd * weight
        scale = ratio(None, value) if self.takes_relevance else None
        return value, (scale, factor, bias, tuple(range(-len(shape), 0)))

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        scale, factor, bias, dims = kept
        share = message.values if scale is None else message.times(scale)
        if ledger is not None and bias is not None:
            ledger.absorb(share, bias)
        scaled = share * factor
        return [Message(scaled - scaled.mean(dims, keepdim=True), is_owned=True)]

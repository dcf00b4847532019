"""Operations on every value by itself: activations, shifts, factors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.quotients import may_be_zero, ratio
from xai_sweep.explainers.relevance.engine.steps.step import Step, received


@dataclass(eq=False, kw_only=True)
class Activation(Step):
    """An element-wise function: passes relevance on as it is, whatever its slope.

    Attributes:
        compute: the function.
        is_relu: it is a plain ReLU.
        keeps_zero: it maps 0 to 0. Otherwise its value at 0 is a constant, which absorbs.
    """

    compute: Callable[..., Tensor]
    is_relu: bool = False
    keeps_zero: bool = True

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        value, constant = self.compute(*args, **kwargs), None
        if not self.keeps_zero and may_be_zero(args[0]):
            constant = (args[0] == 0).to(value.dtype)
        if self.takes_relevance or self.is_relu:
            return value, (value if self.is_relu else None, constant)
        factor = ratio(value, args[0])
        return value, (factor, None if constant is None else constant.mul_(value))

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        factor, constant = kept
        if ledger is not None and constant is not None:
            ledger.absorb(message.values, constant)
        if self.takes_relevance:
            return [
                message if constant is None else Message(message.times(1 - constant), True, True)
            ]
        values = message.where_positive(factor) if self.is_relu else message.times(factor)
        return [Message(values, is_owned=True)]


@dataclass(eq=False, kw_only=True)
class Shift(Step):
    """A constant is added or subtracted, and absorbs its part of the relevance as a bias does.

    Attributes:
        compute: the operation.
        position: of the input with relevance among the arguments.
        factor: what the operation multiplies it by: 1, -1, or a scale of the operation's own.
    """

    compute: Callable[..., Tensor]
    position: int = 0
    factor: float = 1.0

    @property
    @override
    def emits_relevance(self) -> bool:
        return False

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        value, changed = self.compute(*args, **kwargs), args[self.position]
        constant = value - self.factor * changed if accounts else None
        return value, (*self.as_factor(value, accounts), constant, changed.shape)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        scale, lost, constant, shape = kept
        share = received(message, scale, lost, ledger)
        if ledger is not None:
            ledger.absorb(share, constant)
        share = share if self.factor == 1 else self.factor * share
        return [Message(share.sum_to_size(shape), is_owned=message.is_owned)]


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

"""Linear operations with fixed weights: sums, means, average pools, upsampling."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.contributions import stabilised
from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.quotients import amount, over, ratio, remainder
from xai_sweep.explainers.relevance.engine.rule import InSums
from xai_sweep.explainers.relevance.engine.steps.step import Step, received


@dataclass(eq=False, kw_only=True)
class Sum(Step):
    """A linear operation with fixed weights: sums, means, average pools, upsampling, factors.

    Attributes:
        compute: the operation.
        positions: of the inputs with relevance among the arguments.
        backs: for each of them, as `Move.back`, the transposed operation.
        sharing: how the rule distributes relevance here.
        ones: for each of them, the sign with which the operation takes it.
        by_image: see `Site.by_image`.
    """

    compute: Callable[..., Tensor]
    positions: tuple[int, ...] = (0,)
    backs: tuple[Callable[..., Tensor], ...]
    sharing: InSums
    ones: tuple[float, ...] = (1.0,)
    by_image: bool = True

    @property
    @override
    def emits_relevance(self) -> bool:
        return self.sharing.evenly

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        value = self.compute(*args, **kwargs)
        numerator = None if self.takes_relevance else value
        shapes = tuple(args[position].shape for position in self.positions)
        factor = lost = None
        if self.sharing.evenly:
            ones = list(args)
            for position, one in zip(self.positions, self.ones, strict=True):
                ones[position] = torch.full_like(args[position], one)
            factor = ratio(numerator, self.compute(*ones, **kwargs))
        elif self.sharing.stabilizer:
            by = amount(self.sharing.stabilizer, self.sharing.relative, value, self.by_image)
            factor = over(numerator, stabilised(value, by))
        elif numerator is None:
            factor = ratio(None, value)
        if factor is not None and accounts and not self.sharing.evenly:
            lost = remainder(numerator, factor, value, self.sharing.stabilizer)
        return value, (factor, lost, shapes, args[1:], kwargs)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        factor, lost, shapes, args, kwargs = kept
        share = received(message, factor, lost, ledger)
        return [
            Message(back(share, shape, *args, **kwargs), self.sharing.evenly)
            for back, shape in zip(self.backs, shapes, strict=True)
        ]

"""Operations without a rule, which are differentiated instead."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.quotients import ratio
from xai_sweep.explainers.relevance.engine.steps.step import Step


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
    @override
    def emits_relevance(self) -> bool:
        return False

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        value = self.compute(*args, **kwargs)
        return value, (ratio(None, value) if self.takes_relevance else None, args, kwargs)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        scale, args, kwargs = kept
        share = message.values if scale is None else message.times(scale)
        leaves = [args[position].detach().requires_grad_() for position in self.positions]
        filled = list(args)
        for position, leaf in zip(self.positions, leaves, strict=True):
            filled[position] = leaf
        with torch.enable_grad():
            value = self.compute(*filled, **kwargs)
        return [Message(grad) for grad in torch.autograd.grad(value, leaves, share)]

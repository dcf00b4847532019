"""Operations that are differentiated: linear ones, and on request those without a rule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.steps.step import Step, received


@dataclass(eq=False, kw_only=True)
class Gradient(Step):
    """Relevance is input times gradient.

    For a linear operation this is LRP-0. One of degree n, ``f(t x) = t^n f(x)``, such as a product
    of n branches, is divided by n, for ``sum_j x_j df/dx_j = n f`` (Euler): branches share evenly
    (as in Achtibat et al. 2024, arXiv:2402.05602, eq. 13). For any other operation, done on
    request, what the inputs do not get belongs to the constant of the linear function that the
    operation equals here: it is absorbed.

    Attributes:
        compute: the operation.
        positions: of the inputs with relevance among the arguments, those in lists counted singly.
        result: which of several results it is; None if there is one.
        degree: in all inputs with relevance together.
        absorbs: whether there is a constant that absorbs what the inputs do not get.
    """

    compute: Callable[..., Any]
    positions: tuple[int, ...]
    result: Any = None
    degree: int = 1
    absorbs: bool = False

    @property
    def is_unsupported(self) -> bool:
        """Whether there is no rule for the operation."""
        return self.rule == "gradient"

    @property
    @override
    def emits_relevance(self) -> bool:
        return False

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        value = self._value(args, kwargs)
        kept = value if accounts else None
        return value, (*self.as_factor(value, accounts), kept, args, kwargs)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        scale, lost, value, args, kwargs = kept
        share = received(message, scale, lost, ledger)
        share = share if self.degree == 1 else share / self.degree
        given, structure = tree_flatten((tuple(args), dict(kwargs)))
        with torch.enable_grad():
            leaves = [given[position].detach().requires_grad_() for position in self.positions]
            for position, leaf in zip(self.positions, leaves, strict=True):
                given[position] = leaf
            args, kwargs = tree_unflatten(given, structure)
            found = torch.autograd.grad(self._value(args, kwargs), leaves, share)
        if ledger is not None and self.absorbs:
            ledger.absorb(share, value)
            for leaf, gradient in zip(leaves, found, strict=True):
                ledger.absorb(gradient, -leaf.detach())
        return [Message(gradient) for gradient in found]

    def _value(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        value = self.compute(*args, **kwargs)
        return value if self.result is None else value[self.result]

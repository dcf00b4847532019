"""How a rule is computed at one layer: by its equation, or by a faster form registered for it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.contributions import Site
from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.rule import Rule


class Form(ABC):
    """A rule prepared for one layer; built as ``form(rule, site)``.

    Class attributes:
        emits_relevance: whether relevance leaves as ``R_j``; otherwise as ``c_j``, with
            ``R_j = a_j c_j`` for the input ``a_j``.

    Attributes:
        is_gradient: whether ``c_j`` is the gradient, whatever the input, so that nothing has to be
            computed in the forward pass.
    """

    emits_relevance: ClassVar[bool]
    is_gradient: bool = False

    @abstractmethod
    def forward(self, a: Tensor, z: Tensor, value: Tensor | None, accounts: bool) -> Any:
        """What `backward` needs of one batch.

        Args:
            a: the layer's input ``[B, ...]``.
            z: the layer's sums, with its bias if it has one; not to be changed.
            value: the output ``[B, ...]`` if messages arrive as ``c``; None if they are ``R``.
            accounts: whether `backward` will keep a ledger.
        """

    @abstractmethod
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> Tensor:
        """From the layer's output to its input."""


class Equation(Form):
    """A rule as it is written, for rules without a faster form and for tests of these."""

    emits_relevance: ClassVar[bool] = True

    def __init__(self, rule: Rule, site: Site) -> None:
        self.rule = rule
        self.site = site

    @override
    def forward(self, a: Tensor, z: Tensor, value: Tensor | None, accounts: bool) -> Any:
        return a, value

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> Tensor:
        a, value = kept
        relevance = message.values if value is None else message.values * value
        shares = self.rule.redistribute(relevance, a, self.site)
        if ledger is not None:
            arrived = _per_row(relevance) - _per_row(shares.to_inputs)
            absorbed = torch.zeros_like(arrived) + shares.to_bias
            ledger.absorb(absorbed, 1.0)
            ledger.lose(arrived - absorbed, 1.0)
        return shares.to_inputs


def _per_row(values: Tensor) -> Tensor:
    return values.flatten(1).sum(dim=1, dtype=torch.float64)


AnyForm = TypeVar("AnyForm", bound=Form)
_fast_forms: dict[type[Rule], Callable[[Any, Site], Form]] = {}


def fast(rule: type[Rule]) -> Callable[[type[AnyForm]], type[AnyForm]]:
    """Register the class below as the fast form of a rule.

    It is not inherited: a subclass of the rule may have another equation.
    """

    def register(form: type[AnyForm]) -> type[AnyForm]:
        _fast_forms[rule] = form
        return form

    return register


def form_class(rule: Rule) -> Any:
    """The fast form of a rule, called with the rule and a site; the equation if it has none."""
    return _fast_forms.get(type(rule), Equation)

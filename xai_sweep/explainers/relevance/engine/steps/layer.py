"""The step of a layer with weights, where a rule is applied."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.contributions import Site
from xai_sweep.explainers.relevance.engine.forms import Equation, Form, form_class
from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.rule import Rule
from xai_sweep.explainers.relevance.engine.steps.step import Step


@dataclass(eq=False, kw_only=True)
class Layer(Step):
    """An affine layer with its rule, and the activation behind it if nothing else reads the layer.

    Attributes:
        site: the layer with what was fused into it.
        chosen: the rule.
        fast: whether the rule's fast form is used, if it has one; otherwise its equation.
        activation: maps ``z`` to a new tensor; None if the layer's value is ``z``.
        is_relu: the activation is a plain ReLU.
    """

    site: Site
    chosen: Rule
    fast: bool = True
    activation: Callable[[Tensor], Tensor] | None = None
    is_relu: bool = False

    @property
    @override
    def emits_relevance(self) -> bool:
        emits: bool = self._form_class.emits_relevance
        return emits

    @property
    def _form_class(self) -> Any:
        return form_class(self.chosen) if self.fast else Equation

    @cached_property
    def form(self) -> Form:
        """The rule with its weights prepared."""
        # Relevance in the form R does not stop at a ReLU, because it is handed on as it is.
        rectified = self.site.rectified and not self.takes_relevance
        form: Form = self._form_class(self.chosen, replace(self.site, rectified=rectified))
        return form

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        a, layer, form = args[0], self.site.layer, self.form
        z = layer.apply(a, layer.weight, layer.bias)
        if form.is_gradient and self.is_relu and not self.takes_relevance:
            # The gradient of a ReLU is 1 where it is open and 0 elsewhere; z is not needed.
            value = z.relu_()
            return value, (form.forward(a, value, value, accounts), value)
        value = z if self.activation is None else self.activation(z)
        kept = form.forward(a, z, None if self.takes_relevance else value, accounts)
        return value, (kept, None)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        of_form, open_where = kept
        if open_where is not None:
            message = Message(message.where_positive(open_where), is_owned=True)
        values = self.form.backward(message, of_form, ledger)
        return [Message(values, self.emits_relevance, is_owned=True)]

"""Relevance in one draw of Monte-Carlo dropout: some neurons are dropped, the others scaled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, fx
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine import operations as known
from xai_sweep.explainers.relevance.engine.flow import size
from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.plan import Plan
from xai_sweep.explainers.relevance.engine.steps import Step

aten = torch.ops.aten

_ELEMENTS, _CHANNELS = aten.dropout.default, aten.feature_dropout.default


@dataclass(frozen=True)
class Dropout:
    """Dropout at the input of one step.

    Attributes:
        step: the step's number in the plan.
        path: the module path of the layer.
        rate: the probability of a neuron to be dropped.
        shape: of a mask, without the batch; ones along axes that are dropped together.
    """

    step: int
    path: str
    rate: float
    shape: tuple[int, ...]

    def mask(self, uniform: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """The factor of every neuron, 0 or ``1 / (1 - rate)``, from uniform numbers in [0, 1)."""
        scale = 1 / (1 - self.rate) if self.rate < 1 else 0.0
        return scale * (uniform >= self.rate).to(uniform.dtype)


def own_dropouts(plan: Plan) -> list[Dropout]:
    """The network's own dropout layers, those with a rate above 0."""
    found = []
    for number, step in enumerate(plan.steps):
        if step.node.target in (_ELEMENTS, _CHANNELS):
            rate: Any = step.node.args[1]
            shape = _input_size(step)
            if step.node.target is _CHANNELS:
                shape = (shape[0], *[1] * (len(shape) - 1))
            if rate > 0:
                found.append(Dropout(number, _path(plan, step), float(rate), shape))
    return found


def linear_dropouts(plan: Plan, rate: float) -> list[Dropout]:
    """Added dropout in front of every linear layer."""
    return [
        Dropout(number, _path(plan, step), rate, _input_size(step))
        for number, step in enumerate(plan.steps)
        if step.op == "linear" or step.node.target is known.LINEAR
    ]


def with_masks(plan: Plan, masks: Mapping[int, Float[Tensor, "b ..."]]) -> Plan:
    """The plan in which the inputs of some steps are multiplied by masks, by the steps' numbers.

    Weights that forms have prepared are shared with the plan.

    Raises:
        InputError: the first axis of some layer's input does not count images.
    """
    if not plan.flow.by_image:
        allowed = (
            "cannot drop neurons of this network, whose layers see windows or tokens as images; "
            "use explainer.posterior=ensemble"
        )
        raise InputError("explainer", "b_lrp", allowed)
    steps = [
        _masked(step, masks[number]) if number in masks else step
        for number, step in enumerate(plan.steps)
    ]
    return Plan(plan.flow, tuple(steps))


@dataclass(eq=False, kw_only=True)
class _Masked(Step):
    """A step whose input is multiplied by a mask, which counts as a constant.

    Attributes:
        inner: the step.
        mask: ``[B, ...]``.
    """

    inner: Step
    mask: Tensor

    @property
    @override
    def emits_relevance(self) -> bool:
        return self.inner.emits_relevance

    @override
    def forward(self, args: Any, kwargs: Mapping[str, Any], accounts: bool) -> Any:
        return self.inner.forward((args[0] * self.mask, *args[1:]), kwargs, accounts)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        (sent,) = self.inner.backward(message, kept, ledger)
        if not sent.is_relevance:
            return [Message(sent.times(self.mask), is_owned=True)]
        # Rules that go by the weights alone give relevance to dropped neurons too.
        is_kept: Bool[Tensor, "b ..."] = self.mask > 0
        if ledger is not None:
            ledger.lose(sent.values, (~is_kept).to(sent.values.dtype))
        return [Message(sent.times(is_kept.to(sent.values.dtype)), True, is_owned=True)]


def _masked(step: Step, mask: Tensor) -> Step:
    args = step.args
    if step.node.target in (_ELEMENTS, _CHANNELS):
        # The step itself must drop nothing, not even in a network that applies dropout always.
        args = (*args[:2], False)
    return _Masked(
        node=step.node,
        args=args,
        kwargs=step.kwargs,
        inputs=step.inputs,
        op=step.op,
        path=step.path,
        rule=step.rule,
        takes_relevance=step.takes_relevance,
        inner=step,
        mask=mask,
    )


def _input_size(step: Step) -> tuple[int, ...]:
    node = step.args[0]
    assert isinstance(node, fx.Node)
    return size(node)


def _path(plan: Plan, step: Step) -> str:
    return step.path or plan.flow.paths.get(step.node, "")

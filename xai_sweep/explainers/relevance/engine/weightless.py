"""The steps of operations without weights: activations, sums, pools, gates, views."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from xai_sweep.explainers.relevance.engine import operations as known
from xai_sweep.explainers.relevance.engine.flow import Flow
from xai_sweep.explainers.relevance.engine.rule import Rule
from xai_sweep.explainers.relevance.engine.signs import keeps_zero
from xai_sweep.explainers.relevance.engine.steps import (
    Activation,
    Concatenate,
    Extreme,
    Factor,
    Gradient,
    Larger,
    MaxPool,
    Move,
    Normalise,
    Pad,
    Shift,
    Step,
    Sum,
    Winner,
    normalising,
)

aten = torch.ops.aten

_LAYOUTS: Mapping[Any, Callable[..., normalising.Layout]] = {
    known.LAYER_NORM: normalising.layer_norm,
    known.GROUP_NORM: normalising.group_norm,
    known.INSTANCE_NORM: normalising.instance_norm,
    known.RMS_NORM: normalising.rms_norm,
}
Make = Callable[..., Step]


class WeightlessSteps:
    """Makes the step of every operation without weights that relevance passes.

    Args:
        flow: the graph.
        rule_for: the rule for a kind of operation at a node.
    """

    def __init__(self, flow: Flow, rule_for: Callable[[str, fx.Node], Rule]) -> None:
        self.flow = flow
        self.rule_for = rule_for

    def step(self, node: fx.Node) -> Step:
        """The step of a node.

        Raises:
            InputError: relevance cannot pass it.
        """
        whole = known.whole(node)
        make = partial(
            _make,
            node=node,
            args=whole.args,
            kwargs=whole.kwargs,
            inputs=self.flow.receivers[node],
            path=self.flow.paths.get(node, ""),
        )
        step = self._step(make, node)
        if set(step.inputs) != set(self.flow.receivers[node]):
            raise self.flow.unsupported(node, "relevance would miss one of its arguments")
        return step

    def _step(self, make: Make, node: fx.Node) -> Step:
        target = known.operation(node)
        for several, targets in (
            (self._concatenate, (known.CONCATENATE, known.STACK)),
            (self._add, known.ADDS),
            (self._factor, (*known.PRODUCTS, *known.QUOTIENTS, known.NEGATION)),
            (self._larger, (*known.LARGER, *known.SMALLER)),
        ):
            if target in targets:
                return several(make, node)
        receivers = self.flow.receivers[node]
        if target in known.MULTILINEAR or target in known.MEASURED:
            return self._multilinear(make, node)
        if len(receivers) > 1:
            return self._unsupported(make, node, "several of its arguments depend on the image")
        if receivers[0] is not known.whole(node).args[0]:
            return self._unsupported(make, node, "the image is not its first argument")
        return self._of_one(make, node)

    def _of_one(self, make: Make, node: fx.Node) -> Step:
        """The step of an operation on its first argument."""
        target, compute = known.operation(node), function_of(node)
        if target in known.ACTIVATIONS:
            return make(
                Activation,
                op="activation",
                rule="pass",
                compute=compute,
                is_relu=target is aten.relu.default,
                keeps_zero=keeps_zero(node),
            )
        if target in known.PADS:
            if not known.pads_constant(node):
                return make(Move, op="view", compute=compute, back=known.REPEATED)
            value = float(known.arguments(node)["value"] or 0)
            back = known.MOVES[target]
            return make(Pad, op="view", compute=compute, back=back, value=value)
        if target in known.MOVES:
            return make(Move, op="view", compute=compute, back=known.MOVES[target])
        if target is known.MAX_POOL:
            return make(MaxPool, op="max_pool", rule="pass", note="the winner takes all")
        if target in known.WINNERS:
            dim = known.WINNERS[target]
            return make(
                Winner,
                op="maximum",
                rule="pass",
                note="the winner takes all",
                compute=known.whole(node).target,
                dim=None if dim is None else known.arguments(node)[dim],
            )
        if target in known.EXTREMES:
            note = "the winner takes all"
            return make(Extreme, op="maximum", rule="pass", note=note, compute=compute)
        if target in known.SUMS:
            op, back = known.SUMS[target]
            return make(Sum, **self._sharing(op, node), compute=compute, backs=(back,))
        if target in known.LINEAR_MAPS:
            return self._differentiated(make, node, op="linear map", rule="zero")
        if target in known.HOMOGENEOUS:
            degree = known.HOMOGENEOUS[target]
            return self._differentiated(make, node, op="norm", rule="zero", degree=degree)
        if target in known.NORMS:
            return self._normalise(make, node)
        return self._unsupported(make, node, "there is no rule for it")

    def _sharing(self, op: str, node: fx.Node) -> dict[str, Any]:
        """How a rule distributes relevance among inputs without weights."""
        rule = self.rule_for(op, node)
        sharing = rule.in_sums()
        note = "evenly" if sharing.evenly else "in proportion"
        kept = {"op": op, "rule": str(rule), "note": note, "sharing": sharing}
        return {**kept, "by_image": self.flow.by_image}

    def _concatenate(self, make: Make, node: fx.Node) -> Step:
        parts: Any = node.args[0]
        positions = tuple(i for i, part in enumerate(parts) if part in self.flow.receivers[node])
        return make(
            Concatenate,
            inputs=tuple(parts[i] for i in positions),
            op="cat",
            note="every input gets the relevance of its part",
            positions=positions,
            is_stack=node.target is known.STACK,
        )

    def _add(self, make: Make, node: fx.Node) -> Step:
        inputs, compute = self.flow.inputs(node), function_of(node)
        alpha = float(known.arguments(node)["alpha"])
        factors = tuple(
            sign * (alpha if is_scaled else 1.0)
            for sign, is_scaled in zip(*known.ADDS[node.target], strict=True)
        )
        if len(inputs) == 1:
            position = node.args.index(inputs[0])
            return make(
                Shift,
                op="shift",
                rule="zero",
                note="the constant absorbs its part",
                compute=compute,
                position=position,
                factor=factors[position],
            )
        sharing = self._sharing("add", node)
        sizes = [abs(factor) if sharing["sharing"].evenly else factor for factor in factors]
        return make(
            Sum,
            inputs=tuple(inputs),
            **sharing,
            compute=compute,
            positions=(0, 1),
            ones=tuple(math.copysign(1, factor) for factor in factors),
            backs=tuple(partial(_added, factor) for factor in sizes),
        )

    def _factor(self, make: Make, node: fx.Node) -> Step:
        inputs, receivers = self.flow.inputs(node), self.flow.receivers[node]
        position = node.args.index(receivers[0])
        if node.target in known.QUOTIENTS and position == 1:
            return self._unsupported(make, node, "it divides by the image alone")
        if len(receivers) == 2:
            return self._multilinear(make, node)
        is_gated = len(inputs) == 2
        return make(
            Factor,
            op="gate" if is_gated else "factor",
            rule="pass",
            note=f"the {_name(node)} counts as constant" if is_gated else "",
            compute=function_of(node),
            position=position,
            factor=partial(_factor, node.target, position),
        )

    def _multilinear(self, make: Make, node: fx.Node) -> Step:
        """A product of branches, or of one with weights, gates or attention of the image's own."""
        inputs, receivers = self.flow.inputs(node), self.flow.receivers[node]
        if node.target in known.MEASURED and len(inputs) == 1:
            # The image decides on the weights alone.
            return self._unsupported(make, node, "its weights alone depend on the image")
        shared = "branches share evenly" if len(receivers) > 1 else ""
        constant = f"the {_name(node)} counts as constant" if len(receivers) < len(inputs) else ""
        return self._differentiated(
            make,
            node,
            op="product",
            rule="zero",
            note=shared or constant,
            degree=len(receivers),
            absorbs=node.target in known.MEASURED,
        )

    def _normalise(self, make: Make, node: fx.Node) -> Step:
        if node.target is known.INSTANCE_NORM and not known.arguments(node)["use_input_stats"]:
            return self._unsupported(make, node, "it normalises by stored statistics")
        return make(
            Normalise,
            op=str(node.target).split(".")[1],
            rule="zero",
            note="mean and bias absorb, the deviation counts as constant",
            compute=function_of(node),
            layout=_LAYOUTS[node.target],
        )

    def _larger(self, make: Make, node: fx.Node) -> Step:
        inputs = tuple(self.flow.inputs(node))
        return make(
            Larger,
            inputs=inputs,
            op="maximum",
            rule="pass",
            note="the winner takes all",
            compute=function_of(node),
            positions=tuple(i for i, each in enumerate(node.args) if each in inputs),
        )

    def _unsupported(self, make: Make, node: fx.Node, why: str) -> Step:
        if not self.flow.allows_gradient:
            raise self.flow.unsupported(node, why)
        op, note = str(known.whole(node).target), f"unsupported: {why}"
        return self._differentiated(make, node, op=op, rule="gradient", note=note, absorbs=True)

    def _differentiated(self, make: Make, node: fx.Node, **fields: Any) -> Step:
        whole, inputs = known.whole(node), self.flow.receivers[node]
        given = tree_leaves((whole.args, dict(whole.kwargs)))
        positions = tuple(i for i, each in enumerate(given) if each in inputs)
        at = known.MEASURED.get(whole.target)
        if at is not None and list(inputs) == [given[at]]:
            # The same node may also be what counts as constant.
            positions = (at,)
        return make(
            Gradient,
            inputs=tuple(given[i] for i in positions),
            compute=whole.target if whole is not node else function_of(node),
            result=None if whole is node else node.args[1],
            positions=positions,
            **fields,
        )


def function_of(node: fx.Node) -> Callable[..., Any]:
    """What computes the node's value; a view of a channels-last map may need a copy."""
    return aten.reshape.default if node.target is aten.view.default else node.target  # type: ignore[return-value]


def _name(node: fx.Node) -> str:
    """What counts as constant at an operation that reads two branches."""
    names = {known.ATTENTION: "attention", **dict.fromkeys(known.QUOTIENTS, "divisor")}
    return names.get(node.target, "gate" if node.target not in known.MEASURED else "weight")


def _make(kind: type[Step], **fields: Any) -> Step:
    return kind(**fields)


def _added(factor: float, c: Tensor, shape: torch.Size, *_args: Any, **_kwargs: Any) -> Tensor:
    return (c if factor == 1 else c * factor).sum_to_size(shape)


def _factor(target: Any, position: int, *args: Any) -> Any:
    if target is known.NEGATION:
        return -1.0
    factor = 1 / args[1] if target in known.QUOTIENTS else args[1 - position]
    return factor if isinstance(factor, Tensor) else float(factor)

"""The steps of operations without weights: activations, sums, pools, gates, views."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from xai_sweep.explainers.relevance.engine import operations as known
from xai_sweep.explainers.relevance.engine.flow import Flow, pads_constant
from xai_sweep.explainers.relevance.engine.rule import Rule
from xai_sweep.explainers.relevance.engine.steps import (
    Activation,
    Concatenate,
    Factor,
    Gradient,
    LayerNorm,
    MaxPool,
    Move,
    Shift,
    Step,
    Sum,
)

aten = torch.ops.aten

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
        target, inputs, compute = node.target, self.flow.receivers[node], function_of(node)
        make = partial(
            _make,
            node=node,
            args=node.args,
            kwargs=node.kwargs,
            inputs=inputs,
            path=self.flow.paths.get(node, ""),
        )
        if target in known.ACTIVATIONS:
            is_relu = target is aten.relu.default
            return make(Activation, op="activation", rule="pass", compute=compute, is_relu=is_relu)
        if target is known.GETITEM and node.all_input_nodes[0].target in known.CHUNKS:
            narrow = aten.narrow.default
            back = known.MOVES[narrow]
            return make(Move, args=_narrowed(node), kwargs={}, op="view", compute=narrow, back=back)
        if target in known.PADS and not pads_constant(node):
            return self._unsupported(make, node, "a padding that repeats the image")
        if target in known.MOVES:
            return make(Move, op="view", compute=compute, back=known.MOVES[target])
        if target is known.CONCATENATE:
            return self._concatenate(make, node)
        if target is known.MAX_POOL:
            return make(MaxPool, op="max_pool", rule="pass", note="the winner takes all")
        if target in known.SUMS:
            op, back = known.SUMS[target]
            return make(Sum, **self._sharing(op, node), compute=compute, backs=(back,))
        if target in known.ADDS:
            return self._add(make, node, compute)
        if target in known.PRODUCTS or target in known.QUOTIENTS or target is known.NEGATION:
            return self._factor(make, node, compute)
        if target is known.LAYER_NORM:
            note = "mean and bias absorb, the deviation counts as constant"
            return make(LayerNorm, op="layer_norm", rule="zero", note=note)
        return self._unsupported(make, node, "there is no rule for it")

    def _sharing(self, op: str, node: fx.Node) -> dict[str, Any]:
        """How a rule distributes relevance among inputs without weights."""
        rule = self.rule_for(op, node)
        sharing = rule.in_sums()
        note = "evenly" if sharing.evenly else "in proportion"
        return {"op": op, "rule": str(rule), "note": note, "sharing": sharing}

    def _concatenate(self, make: Make, node: fx.Node) -> Step:
        parts: Any = node.args[0]
        inputs = self.flow.receivers[node]
        positions = tuple(i for i, part in enumerate(parts) if part in inputs)
        return make(
            Concatenate,
            inputs=tuple(parts[i] for i in positions),
            op="cat",
            note="every input gets the relevance of its part",
            positions=positions,
        )

    def _add(self, make: Make, node: fx.Node, compute: Callable[..., Any]) -> Step:
        inputs, sign = self.flow.inputs(node), known.ADDS[node.target]
        if len(inputs) == 1:
            sign = sign if inputs[0] is node.args[1] else 1
            note = "the constant absorbs its part"
            return make(Shift, op="shift", rule="zero", note=note, compute=compute, sign=sign)
        factors = (1.0, sign * float(node.kwargs.get("alpha", 1)))  # type: ignore[arg-type]
        return make(
            Sum,
            inputs=tuple(inputs),
            **self._sharing("add", node),
            compute=compute,
            positions=(0, 1),
            backs=tuple(partial(_added, factor) for factor in factors),
        )

    def _factor(self, make: Make, node: fx.Node, compute: Callable[..., Any]) -> Step:
        dependent, (passing, *others) = self.flow.inputs(node), self.flow.receivers[node]
        is_gated = len(dependent) == 2
        position = node.args.index(passing)
        if node.target in known.QUOTIENTS and (is_gated or position == 1):
            return self._unsupported(make, node, "a quotient of two branches")
        if others:
            return self._unsupported(
                make, node, "a product of two branches, neither of which is a gate"
            )
        return make(
            Factor,
            op="gate" if is_gated else "factor",
            rule="pass",
            note="the gate counts as constant" if is_gated else "",
            compute=compute,
            position=position,
            factor=partial(_factor, node.target, position),
        )

    def _unsupported(self, make: Make, node: fx.Node, why: str) -> Step:
        if not self.flow.allows_gradient:
            raise self.flow.unsupported(node, why)
        return make(
            Gradient,
            op=str(node.target),
            rule="gradient",
            note=f"unsupported: {why}",
            compute=function_of(node),
            positions=tuple(node.args.index(arg) for arg in self.flow.inputs(node)),
        )


def function_of(node: fx.Node) -> Callable[..., Any]:
    """What computes the node's value; a view of a channels-last map may need a copy."""
    return aten.reshape.default if node.target is aten.view.default else node.target  # type: ignore[return-value]


def _make(kind: type[Step], **fields: Any) -> Step:
    return kind(**fields)


def _added(factor: float, c: Tensor, shape: torch.Size, *_args: Any, **_kwargs: Any) -> Tensor:
    return (c if factor == 1 else c * factor).sum_to_size(shape)


def _factor(target: Any, position: int, *args: Any) -> Any:
    if target is known.NEGATION:
        return -1.0
    return 1 / args[1] if target in known.QUOTIENTS else args[1 - position]


def _narrowed(node: fx.Node) -> tuple[Any, ...]:
    """A part of a chunked tensor, as arguments of ``narrow``."""
    chunked, index = node.args
    assert isinstance(chunked, fx.Node)
    assert isinstance(index, int)
    dim: Any = chunked.args[2] if len(chunked.args) > 2 else chunked.kwargs.get("dim", 0)
    lengths = [int(part.shape[dim]) for part in chunked.meta["val"]]
    index %= len(lengths)
    return chunked.args[0], dim, sum(lengths[:index]), lengths[index]

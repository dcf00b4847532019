"""From a captured graph to the steps of propagation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine import operations as known
from xai_sweep.explainers.relevance.engine.choose import (
    KEY,
    Choice,
    Place,
    check_paths,
    rule_at,
)
from xai_sweep.explainers.relevance.engine.flow import Flow, is_clipped, pads_constant, size
from xai_sweep.explainers.relevance.engine.fuse import WEIGHTED, Fused, fused
from xai_sweep.explainers.relevance.engine.layers import Conv, Scale
from xai_sweep.explainers.relevance.engine.rules import (
    AbsZ,
    Epsilon,
    Flat,
    Pass,
    Rule,
    WSquare,
    ZBox,
)
from xai_sweep.explainers.relevance.engine.splits import Site
from xai_sweep.explainers.relevance.engine.steps import Compute, Layer, Step
from xai_sweep.explainers.relevance.engine.weightless import (
    Activation,
    Concatenate,
    Factor,
    Gradient,
    LayerNorm,
    MaxPool,
    Move,
    Shift,
    Sum,
)
from xai_sweep.graphs.capture import Captured

aten = torch.ops.aten


@dataclass(frozen=True)
class Wish:
    """What a person asks of LRP.

    Attributes:
        choices: which rule where.
        batchnorm: ``fuse``, or the rule that every batchnorm gets.
        unsupported: ``error`` or ``gradient``.
    """

    choices: tuple[Choice, ...]
    batchnorm: str | Rule
    unsupported: str


@dataclass(frozen=True, eq=False)
class Plan:
    """A network ready for propagation.

    Attributes:
        flow: the graph as relevance sees it.
        steps: in the order of computation.
    """

    flow: Flow
    steps: tuple[Step, ...]

    @property
    def classes(self) -> int:
        """How many logits the network has."""
        return size(self.flow.logits)[0]

    @property
    def unsupported(self) -> list[str]:
        """Operations that are passed by their gradient."""
        return [f"{step.path} ({step.op})" for step in self.steps if isinstance(step, Gradient)]


def make_plan(
    captured: Captured, wish: Wish, bounds: tuple[Tensor, Tensor], stop: fx.Node | None = None
) -> Plan:
    """Decide for every operation what it is to relevance.

    Args:
        captured: the network's graph.
        wish: what is asked.
        bounds: smallest and largest value of the image's channels, ``[C]`` each.
        stop: the node where propagation ends; None for the image.

    Raises:
        InputError: an operation or a layer has no rule, or a rule's path names nothing here.
    """
    flow = Flow(captured, stop, wish.unsupported == "gradient")
    steps = list(_Planner(flow, wish, bounds).steps())
    _set_forms(flow, steps)
    return Plan(flow, tuple(steps))


class _Planner:
    def __init__(self, flow: Flow, wish: Wish, bounds: tuple[Tensor, Tensor]) -> None:
        self.flow, self.wish, self.bounds = flow, wish, bounds
        self.layers = self._layers()
        ranked = [layer for layer in self.layers if layer.node.target in WEIGHTED]
        self.order = {layer.node: rank for rank, layer in enumerate(ranked)}
        self.by_end = {layer.end: layer for layer in self.layers}
        self.taken = {node for layer in self.layers for node in layer.members}
        self.passed = 0
        self.places: list[Place] = []

    def _layers(self) -> list[Fused]:
        found: list[Fused] = []
        taken: set[fx.Node] = set()
        for node in self.flow.nodes:
            is_layer = node.target in (*WEIGHTED, known.BATCHNORM) and self.flow.carriers.get(node)
            if is_layer and node not in taken:
                found.append(fused(self.flow, node, self.wish.batchnorm == "fuse"))
                taken |= found[-1].members
        return found

    def steps(self) -> Iterator[Step]:
        for node in self.flow.nodes:
            if node in self.by_end:
                yield self._layer(self.by_end[node])
            elif node in self.flow.moving and node.op == "call_function" and node not in self.taken:
                if self.flow.carriers.get(node):
                    yield self._weightless(node)
                elif node.target not in known.SPLITS or not all(
                    self.flow.carriers.get(user) for user in node.users
                ):
                    yield Compute(
                        node=node, args=node.args, kwargs=node.kwargs, compute=operation(node)
                    )
        check_paths(self.wish.choices, self.places)

    # ---- rules ------------------------------------------------------------------------------

    def _place(self, op: str, node: fx.Node) -> Place:
        count = len(self.order)
        if node in self.order:
            self.passed = self.order[node]
        ends = {"first": 0, "last": count - 1}
        place = Place(
            op,
            self.flow.paths.get(node, ""),
            self.passed / max(1, count - 1),
            frozenset(name for name, rank in ends.items() if self.order.get(node) == rank),
        )
        self.places.append(place)
        return place

    def _layer(self, layer: Fused) -> Step:
        is_norm = isinstance(layer.layer, Scale)
        op = "batchnorm" if is_norm else "linear" if layer.node.target is known.LINEAR else "conv"
        place = self._place(op, layer.node)
        strategy = "cannot be fused" if is_norm else layer.batchnorm
        if is_norm and isinstance(self.wish.batchnorm, Rule):
            rule = self.wish.batchnorm
            strategy = rule.name
        else:
            rule = rule_at(place, self.wish.choices)
        self._check(rule, layer)
        end = layer.activation
        return Layer(
            node=layer.end,
            args=(layer.start,),
            inputs=(layer.start,),
            op=op,
            path=place.path,
            rule=str(rule),
            batchnorm=strategy,
            note=_taken(layer),
            chosen=rule,
            site=Site(
                layer.layer,
                size(layer.start),
                nonnegative=layer.start in self.flow.nonnegative,
                rectified=end is not None and end.target in known.RELUS and is_clipped(end),
                bounds=self.bounds,
            ),
            activation=None if end is None else partial(_applied, end),
            is_relu=end is not None and end.target is aten.relu.default,
        )

    def _check(self, rule: Rule, layer: Fused) -> None:
        path = self.flow.paths.get(layer.node, "")
        if isinstance(rule, ZBox) and layer.start is not self.flow.image:
            raise InputError(KEY, rule, f"is for the layer that reads pixels; {path} does not")
        if isinstance(rule, AbsZ) and not isinstance(layer.layer, Scale):
            raise InputError(KEY, rule, f"is for a batchnorm; {path} is none")
        if isinstance(rule, Pass) and not layer.layer.stands_one_to_one():
            raise InputError(KEY, rule, f"needs one input per output; {path} has more")

    def _split(self, op: str, node: fx.Node) -> dict[str, Any]:
        """How a rule splits among inputs without weights, which all weigh the same."""
        rule = rule_at(self._place(op, node), self.wish.choices)
        is_even = isinstance(rule, Flat | WSquare)
        stabilizer = rule.epsilon if isinstance(rule, Epsilon) else getattr(rule, "stabilizer", 0.0)
        return {
            "op": op,
            "rule": str(rule),
            "note": "evenly" if is_even else "in proportion",
            "stabilizer": stabilizer,
            "is_relative": isinstance(rule, Epsilon) and rule.relative,
            "is_even": is_even,
        }

    # ---- operations without weights ---------------------------------------------------------

    def _weightless(self, node: fx.Node) -> Step:
        target, inputs = node.target, self.flow.carriers[node]
        make = partial(
            _make,
            node=node,
            args=node.args,
            kwargs=node.kwargs,
            inputs=inputs,
            path=self.flow.paths.get(node, ""),
        )
        compute = operation(node)
        if target in known.ACTIVATIONS:
            is_relu = target is aten.relu.default
            return make(Activation, op="activation", rule="pass", compute=compute, is_relu=is_relu)
        if target is known.PIECE and node.all_input_nodes[0].target in known.SPLITS:
            narrow = aten.narrow.default
            return make(
                Move,
                args=_piece(node),
                kwargs={},
                op="view",
                compute=narrow,
                back=known.MOVES[narrow],
            )
        if target in known.PADS and not pads_constant(node):
            return self._other(make, node, "a padding that repeats the image")
        if target in known.MOVES:
            return make(Move, op="view", compute=compute, back=known.MOVES[target])
        if target is known.CONCATENATE:
            positions = tuple(i for i, part in enumerate(node.args[0]) if part in inputs)  # type: ignore[arg-type]
            parts = tuple(node.args[0][i] for i in positions)  # type: ignore[index]
            return make(
                Concatenate, inputs=parts, op="cat", note="to each its own", positions=positions
            )
        if target is known.MAX_POOL:
            return make(MaxPool, op="max_pool", rule="pass", note="the winner takes all")
        if target in known.SUMS:
            op, back = known.SUMS[target]
            return make(Sum, **self._split(op, node), compute=compute, backs=(back,))
        if target in known.ADDS:
            return self._add(make, node, compute)
        if target in known.PRODUCTS or target in known.QUOTIENTS or target is known.NEGATION:
            return self._factor(make, node, compute)
        if target is known.LAYER_NORM:
            note = "mean and bias absorb, the deviation counts as constant"
            return make(LayerNorm, op="layer_norm", rule="zero", note=note)
        return self._other(make, node, "there is no rule for it")

    def _add(self, make: Callable[..., Step], node: fx.Node, compute: Callable[..., Any]) -> Step:
        inputs, sign = self.flow.inputs(node), known.ADDS[node.target]
        if len(inputs) == 1:
            sign = sign if inputs[0] is node.args[1] else 1
            note = "the constant absorbs its part"
            return make(Shift, op="shift", rule="zero", note=note, compute=compute, sign=sign)
        factors = (1.0, sign * float(node.kwargs.get("alpha", 1)))  # type: ignore[arg-type]
        backs = tuple(partial(_added, factor) for factor in factors)
        split = self._split("add", node)
        return make(
            Sum, inputs=tuple(inputs), **split, compute=compute, positions=(0, 1), backs=backs
        )

    def _factor(
        self, make: Callable[..., Step], node: fx.Node, compute: Callable[..., Any]
    ) -> Step:
        moving, (passing, *_) = self.flow.inputs(node), self.flow.carriers[node]
        is_gated = len(moving) == 2
        position = node.args.index(passing)
        if node.target in known.QUOTIENTS and (is_gated or position == 1):
            return self._other(make, node, "a quotient of two branches")
        if len(self.flow.carriers[node]) == 2:
            return self._other(make, node, "a product of two branches, and none of them is a gate")
        return make(
            Factor,
            op="gate" if is_gated else "factor",
            rule="pass",
            note="the gate counts as constant" if is_gated else "",
            compute=compute,
            position=position,
            factor=partial(_factor, node.target, position),
        )

    def _other(self, make: Callable[..., Step], node: fx.Node, why: str) -> Step:
        if not self.flow.forgives:
            raise self.flow.unsupported(node, why)
        positions = tuple(node.args.index(arg) for arg in self.flow.inputs(node))
        return make(
            Gradient,
            op=str(node.target),
            rule="gradient",
            note=f"unsupported: {why}",
            compute=operation(node),
            positions=positions,
        )


def _taken(layer: Fused) -> str:
    """What else belongs to the layer's step, for people."""
    frame = ["zero padding"] if isinstance(layer.layer, Conv) and any(layer.layer.frame) else []
    ends = [] if layer.activation is None else [str(layer.activation.target).split(".")[1]]
    return ", ".join([*frame, *ends])


def _make(kind: type[Step], **fields: Any) -> Step:
    return kind(**fields)


def operation(node: fx.Node) -> Callable[..., Any]:
    """What computes the node's value; a view of a channels-last map may need a copy."""
    return aten.reshape.default if node.target is aten.view.default else node.target  # type: ignore[return-value]


def _applied(node: fx.Node, z: Tensor) -> Tensor:
    value: Tensor = node.target(z, *node.args[1:], **node.kwargs)  # type: ignore[operator]
    return value


def _added(factor: float, c: Tensor, shape: torch.Size, *_args: Any, **_kwargs: Any) -> Tensor:
    return (c if factor == 1 else c * factor).sum_to_size(shape)


def _factor(target: Any, position: int, *args: Any) -> Any:
    if target is known.NEGATION:
        return -1.0
    return 1 / args[1] if target in known.QUOTIENTS else args[1 - position]


def _piece(node: fx.Node) -> tuple[Any, ...]:
    """A part of a tensor that was split, as arguments of ``narrow``."""
    split, index = node.args
    assert isinstance(split, fx.Node)
    assert isinstance(index, int)
    dim: Any = split.args[2] if len(split.args) > 2 else split.kwargs.get("dim", 0)
    lengths = [int(part.shape[dim]) for part in split.meta["val"]]
    index %= len(lengths)
    return split.args[0], dim, sum(lengths[:index]), lengths[index]


def _set_forms(flow: Flow, steps: list[Step]) -> None:
    """Tell every step in which form relevance will arrive: as R as soon as one sender says R."""
    forms: dict[fx.Node, bool] = {flow.logits: False}
    for step in reversed(steps):
        step.takes_relevance = forms.get(step.node, False)
        for node in step.inputs:
            forms[node] = forms.get(node, False) or step.emits_relevance

"""From a captured graph to the steps of propagation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine import operations as known
from xai_sweep.explainers.relevance.engine.composite import KEY, Composite, Operation
from xai_sweep.explainers.relevance.engine.contributions import Site
from xai_sweep.explainers.relevance.engine.flow import Flow, size
from xai_sweep.explainers.relevance.engine.fuse import WEIGHTED, Fused, fused
from xai_sweep.explainers.relevance.engine.layers import Conv, Scale
from xai_sweep.explainers.relevance.engine.pixels import (
    bounds_of_pixels,
    handed_on_nodes,
    normalisation,
)
from xai_sweep.explainers.relevance.engine.rule import Rule
from xai_sweep.explainers.relevance.engine.signs import rectifies
from xai_sweep.explainers.relevance.engine.steps import Compute, Gradient, Layer, Step
from xai_sweep.explainers.relevance.engine.weightless import WeightlessSteps, function_of
from xai_sweep.graphs.capture import Captured

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class Plan:
    """A network ready for propagation.

    Attributes:
        flow: the paths of relevance through the graph.
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
        """Operations without a rule, which relevance passes by their gradient."""
        return [
            f"{step.path} ({step.op})"
            for step in self.steps
            if isinstance(step, Gradient) and step.is_unsupported
        ]


def make_plan(
    captured: Captured,
    composite: Composite,
    bounds: tuple[Tensor, Tensor],
    stop: fx.Node | None = None,
    fast: bool = True,
) -> Plan:
    """Decide how relevance passes every operation.

    Args:
        captured: the network's graph.
        composite: which rule applies where.
        bounds: smallest and largest value of the image's channels, ``[C]`` each.
        stop: the node where propagation ends; None for the image.
        fast: whether rules are computed by their fast forms; otherwise by their equations, which
            gives the same numbers up to rounding.

    Raises:
        InputError: an operation or a layer has no rule, or a rule's path names nothing here.
    """
    flow = Flow(captured, stop, composite.unsupported == "gradient")
    steps = list(_Planner(flow, composite, bounds, fast).steps())
    _check_all_arrive(flow, steps)
    _set_forms(flow, steps)
    return Plan(flow, tuple(steps))


class _Planner:
    def __init__(
        self, flow: Flow, composite: Composite, bounds: tuple[Tensor, Tensor], fast: bool
    ) -> None:
        self.flow, self.composite, self.bounds, self.fast = flow, composite, bounds, fast
        self.pixels = bounds_of_pixels(flow, bounds)
        self.layers = self._layers()
        # Counted in the whole network, so that a layer has the same rule wherever propagation ends.
        weighted = [n for n in flow.nodes if n.target in WEIGHTED and flow.whole.get(n)]
        self.order = {node: number for number, node in enumerate(weighted)}
        self.by_end = {layer.end: layer for layer in self.layers}
        self.fused = {node for layer in self.layers for node in layer.members}
        self.passed = 0
        self.operations: list[Operation] = []

    def _layers(self) -> list[Fused]:
        found: list[Fused] = []
        members: set[fx.Node] = set()
        for node in self.flow.nodes:
            is_layer = node.target in (*WEIGHTED, known.BATCHNORM)
            # One whose weights depend on the image is none.
            is_layer = is_layer and bool(self.flow.receivers.get(node))
            is_layer = is_layer and self.flow.inputs(node) == [node.args[0]]
            if is_layer and node not in members:
                found.append(fused(self.flow, node, self.composite.batchnorm == "fuse"))
                members |= found[-1].members
        return found

    def steps(self) -> Iterator[Step]:
        weightless = WeightlessSteps(self.flow, self._rule)
        handed_on = handed_on_nodes(self.flow, self.pixels, self.layers, self._rule_of)
        for node in self.flow.nodes:
            if node in self.by_end:
                yield self._layer(self.by_end[node])
            elif node in self.fused or node.op != "call_function":
                continue
            elif node in handed_on:
                yield normalisation(self.flow, node)
            elif self.flow.receivers.get(node):
                yield weightless.step(node)
            elif node in self.flow.dependent and not self._is_replaced(node):
                self.passed = self.order.get(node, self.passed)
                compute = function_of(node)
                yield Compute(node=node, args=node.args, kwargs=node.kwargs, compute=compute)
        below = [node for node in self.flow.whole if node not in self.flow.receivers]
        paths = [each.path for each in self.operations]
        self.composite.check_paths([*paths, *(self.flow.paths.get(node, "") for node in below)])

    def _is_replaced(self, node: fx.Node) -> bool:
        """Whether nothing reads the node: of an operation with several results, each has a step."""
        readers = [
            known.whole(user) is node and self.flow.receivers.get(user) for user in node.users
        ]
        return bool(readers) and all(readers)

    def _described(self, op: str, node: fx.Node) -> Operation:
        last = len(self.order) - 1
        number = self.order.get(node)
        ends = {"first": 0, "last": last}
        return Operation(
            op,
            self.flow.paths.get(node, ""),
            # What has no weights has the depth of the last layer before it.
            (self.passed if number is None else number) / max(1, last),
            frozenset(name for name, end in ends.items() if number == end),
        )

    def _rule(self, op: str, node: fx.Node) -> Rule:
        self.passed = self.order.get(node, self.passed)
        self.operations.append(self._described(op, node))
        return self.composite.rule_for(self.operations[-1])

    def _rule_of(self, layer: Fused) -> Rule:
        if isinstance(layer.layer, Scale) and isinstance(self.composite.batchnorm, Rule):
            return self.composite.batchnorm
        return self.composite.rule_for(self._described(layer.op, layer.node))

    def _layer(self, layer: Fused) -> Step:
        is_norm = isinstance(layer.layer, Scale)
        self.passed = self.order.get(layer.node, self.passed)
        self.operations.append(self._described(layer.op, layer.node))
        rule = self._rule_of(layer)
        batchnorm = "cannot be fused" if is_norm else layer.batchnorm
        if is_norm and isinstance(self.composite.batchnorm, Rule):
            batchnorm = rule.name
        end = layer.activation
        return Layer(
            node=layer.end,
            args=(layer.start,),
            inputs=(layer.start,),
            op=layer.op,
            path=self.operations[-1].path,
            rule=str(rule),
            batchnorm=batchnorm,
            note=_also_fused(layer),
            chosen=rule,
            fast=self.fast,
            site=self._site(layer, rule),
            activation=None if end is None else partial(_activated, end),
            is_relu=end is not None and end.target is aten.relu.default,
        )

    def _site(self, layer: Fused, rule: Rule) -> Site:
        end = layer.activation
        bounds = self.pixels.get(layer.start)
        bounds = bounds or pixel_bounds(self.flow, layer.start, self.bounds)
        site = Site(
            layer.layer,
            size(layer.start),
            reads_pixels=bounds is not None,
            nonnegative=layer.start in self.flow.nonnegative,
            rectified=end is not None and rectifies(end),
            bounds=bounds or self.bounds,
            by_image=self.flow.by_image,
        )
        refusal = rule.refusal(site)
        if refusal is not None:
            path = self.flow.paths.get(layer.node) or "the network itself"
            raise InputError(
                KEY, rule, f"cannot be applied to {path}: {refusal}; choose another rule for it"
            )
        return site


def _check_all_arrive(flow: Flow, steps: Sequence[Step]) -> None:
    """Refuse a plan in which relevance would end on its way.

    Raises:
        InputError: naming the operation.
    """
    ends = {flow.stop, flow.image, *(step.node for step in steps if step.inputs)}
    for step in steps:
        for node in step.inputs:
            if node not in ends:
                raise flow.unsupported(node, "relevance would end here", can_differentiate=False)


@torch.no_grad()
def pixel_bounds(
    flow: Flow, at: fx.Node, bounds: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor] | None:
    """The bounds of the pixels at a node to which they have only been moved.

    Returns:
        As given for the image itself, ``[C]`` each; where pixels have been moved, as in
        space-to-depth, moved like them, shaped as the node's value without the batch; None if the
        node's values are no pixels.
    """
    if at is flow.image:
        return bounds
    if len(bounds[0]) != size(flow.image)[0]:
        return None  # they are not those of these channels
    way = [at]
    while way[-1] is not flow.image:
        node = way[-1]
        is_moved = node.target in known.MOVES and node.target not in known.PADS
        if not is_moved or len(flow.inputs(node)) != 1:
            return None
        way.append(flow.inputs(node)[0])
    # Sizes follow from the number of images, here one.
    needed = [n for n in flow.nodes if n in way or n in flow.dependent - flow.reading]
    moved = []
    for bound in bounds:
        image = bound.view(-1, 1, 1).expand(1, *size(flow.image))
        values: dict[fx.Node, Any] = {**flow.constants, flow.image: image}
        for node in needed:
            if node.op == "call_function" and all(n in values for n in node.all_input_nodes):
                args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), values.__getitem__)
                values[node] = function_of(node)(*args, **kwargs)
        moved.append(values[at])
    low, high = moved
    return (low[0], high[0]) if len(low) == 1 else None


def _also_fused(layer: Fused) -> str:
    """Padding and activation of the layer's step, as `xai-sweep preflight` prints them."""
    is_padded = isinstance(layer.layer, Conv) and any(layer.layer.outer_padding)
    padding = ["zero padding"] if is_padded else []
    ends = [] if layer.activation is None else [str(layer.activation.target).split(".")[1]]
    return ", ".join([*padding, *ends])


def _activated(node: fx.Node, z: Tensor) -> Tensor:
    value: Tensor = node.target(z, *node.args[1:], **node.kwargs)  # type: ignore[operator]
    return value


def _set_forms(flow: Flow, steps: list[Step]) -> None:
    """Set in which form relevance arrives at every step: as R as soon as one sender emits R."""
    forms: dict[fx.Node, bool] = {flow.logits: False}
    for step in reversed(steps):
        step.takes_relevance = forms.get(step.node, False)
        for node in step.inputs:
            forms[node] = forms.get(node, False) or step.emits_relevance

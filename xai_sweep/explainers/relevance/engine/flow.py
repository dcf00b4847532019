"""Which nodes of a captured graph have relevance, where it goes next, and the values' signs."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine import operations as known
from xai_sweep.graphs.capture import Captured

aten = torch.ops.aten


class Flow:
    """The paths of relevance through the graph.

    Args:
        captured: the graph.
        stop: the node where propagation ends; None for the image.
        allows_gradient: whether relevance may pass an operation without a rule by its gradient.

    Attributes:
        image, logits: first and last node.
        constants: values of nodes that do not depend on the image.
        dependent: nodes that depend on the image.
        receivers: every node with relevance, and the nodes to which it goes next.
        nonnegative: nodes whose values are at least zero for every image.
    """

    def __init__(self, captured: Captured, stop: fx.Node | None, allows_gradient: bool) -> None:
        self.paths = captured.paths
        self.allows_gradient = allows_gradient
        self.nodes = list(captured.graph.graph.nodes)
        self.image = next(node for node in self.nodes if node.op == "placeholder")
        self.stop = self.image if stop is None else stop
        self.logits = next(node for node in self.nodes if node.op == "output").all_input_nodes[0]
        self.constants: dict[fx.Node, Any] = {}
        self.dependent: set[fx.Node] = set()
        for node in self.nodes:
            if node.op == "get_attr":
                self.constants[node] = _attribute(captured.graph, str(node.target))
            elif node is self.image or not self.dependent.isdisjoint(node.all_input_nodes):
                self.dependent.add(node)
            elif node.op == "call_function":
                self.constants[node] = _computed(node, self.constants)
        self.receivers = self._receivers()
        self.nonnegative = self._nonnegative()

    def inputs(self, node: fx.Node) -> list[fx.Node]:
        """The arguments that are tensors and depend on the image."""
        return [
            arg
            for arg in node.args
            if isinstance(arg, fx.Node) and arg in self.dependent and is_tensor(arg)
        ]

    def only_user(self, node: fx.Node) -> fx.Node | None:
        """The only reader of this node; None if there are several, or propagation ends here."""
        return next(iter(node.users)) if len(node.users) == 1 and node is not self.stop else None

    def unsupported(self, node: fx.Node, why: str) -> InputError:
        """The error for an operation without a rule: names the layer and what to do."""
        where = f"{self.paths.get(node) or 'the network itself'} ({node.target})"
        return InputError(
            "explainer",
            "lrp",
            f"cannot pass {where}: {why}; with explainer.unsupported=gradient it is passed as "
            "input times gradient",
        )

    def _receivers(self) -> dict[fx.Node, tuple[fx.Node, ...]]:
        found: dict[fx.Node, tuple[fx.Node, ...]] = {}
        waiting = [self.logits]
        while waiting:
            node = waiting.pop()
            if node not in found:
                ends = node in (self.image, self.stop)
                found[node] = () if ends else tuple(self._goes_to(node))
                waiting.extend(found[node])
        if self.stop not in found:
            raise InputError(
                "explainer.layer", self.paths[self.stop], "must be a layer that relevance reaches"
            )
        return found

    def _goes_to(self, node: fx.Node) -> Iterator[fx.Node]:
        if node.target is known.CONCATENATE:
            yield from (part for part in node.all_input_nodes if part in self.dependent)
        elif node.target is known.GETITEM and node.all_input_nodes[0].target in known.CHUNKS:
            yield node.all_input_nodes[0].all_input_nodes[0]
        elif node.target in known.PRODUCTS and len(self.inputs(node)) == 2:
            yield from self._passing(node)
        else:
            yield from self.inputs(node)

    def _passing(self, node: fx.Node) -> list[fx.Node]:
        """The factor that is not a gate."""
        factors = self.inputs(node)
        gates = [_is_gate(factor) for factor in factors]
        if gates[0] == gates[1]:
            # Their origin does not decide, so the smaller one is: one number per channel.
            counts = [math.prod(size(factor)) for factor in factors]
            gates = [count < max(counts) for count in counts]
        if gates[0] == gates[1] and not self.allows_gradient:
            raise self.unsupported(node, "a product of two branches, neither of which is a gate")
        return [factor for factor, gate in zip(factors, gates, strict=True) if not gate]

    def _nonnegative(self) -> set[fx.Node]:
        found: set[fx.Node] = set()
        for node in self.nodes:
            inputs = [arg for arg in node.all_input_nodes if is_tensor(arg)]
            target = node.target
            keeps = (
                target in known.KEEPS_SIGN
                or (target is aten.add.Tensor and len(inputs) == 2)
                or (target in known.PRODUCTS and len(inputs) == 2)
                or (target in known.PADS and pads_zeros(node))
            )
            if is_clipped(node) or (keeps and all(arg in found for arg in inputs)):
                found.add(node)
        return found


def _attribute(module: Any, target: str) -> Any:
    for part in target.split("."):
        module = getattr(module, part)
    return module.detach() if isinstance(module, Tensor) else module


@torch.no_grad()
def _computed(node: fx.Node, constants: dict[fx.Node, Any]) -> Any:
    """A value computed from parameters alone, as in weight standardisation."""
    args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), constants.__getitem__)
    return node.target(*args, **kwargs)  # type: ignore[operator]


def is_tensor(node: fx.Node) -> bool:
    """Whether the node's value is one tensor."""
    return isinstance(node.meta.get("val"), Tensor)


def size(node: fx.Node) -> tuple[int, ...]:
    """The shape of a node's value without the batch."""
    return tuple(int(length) for length in node.meta["val"].shape[1:])


def is_clipped(node: fx.Node) -> bool:
    """Whether the node is a function whose value is never negative."""
    if node.target is aten.hardtanh.default:
        return bool(len(node.args) > 1 and node.args[1] == 0)
    return known.ACTIVATIONS.get(node.target, False)


def pads_constant(node: fx.Node) -> bool:
    """Whether a padding adds a constant."""
    mode = node.args[2] if len(node.args) > 2 else "constant"
    return bool(node.target is not aten.pad.default or mode == "constant")


def pads_zeros(node: fx.Node) -> bool:
    """Whether a padding adds only zeros."""
    value = node.args[3:] if node.target is aten.pad.default else node.args[2:]
    return pads_constant(node) and all(number in (None, 0) for number in value)


def _is_gate(node: fx.Node) -> bool:
    """Whether the value comes directly from one of `known.GATES`."""
    while node.target in known.MOVES or node.target in known.ADDS or node.target in known.PRODUCTS:
        if node.target in known.GATES or not node.all_input_nodes:
            break
        node = node.all_input_nodes[0]
    return node.target in known.GATES

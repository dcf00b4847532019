"""Which nodes of a captured graph have relevance, where it goes next, and the values' signs."""

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine import operations as known
from xai_sweep.explainers.relevance.engine.signs import nonnegative
from xai_sweep.graphs.capture import Captured

aten = torch.ops.aten


class Flow:
    """The paths of relevance through the graph.

    Whatever depends on the image's values receives relevance from all that reads it, or counts as
    a constant because `_constant_arguments` says so; anything else is refused.

    Args:
        captured: the graph.
        stop: the node where propagation ends; None for the image.
        allows_gradient: whether relevance may pass an operation without a rule by its gradient.

    Attributes:
        image, logits: first and last node.
        constants: values of nodes that do not depend on the image.
        dependent: nodes that depend on the image, be it on the number of images alone.
        reading: those that depend on the image's values.
        receivers: every node with relevance, and the nodes to which it goes next.
        nonnegative: nodes whose values are at least zero for every image.
        by_image: images stand along the first axis wherever relevance passes. Otherwise, where
            windows or tokens do, they can only be explained one by one.
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
        self.reading: set[fx.Node] = {self.image}
        for node in self.nodes:
            if node.op == "get_attr":
                self.constants[node] = _attribute(captured.graph, str(node.target))
            elif node is self.image or not self.dependent.isdisjoint(node.all_input_nodes):
                self.dependent.add(node)
                self._read(node)
            elif node.op == "call_function":
                self.constants[node] = _computed(node, self.constants)
        self.receivers = self._receivers()
        self.nonnegative = nonnegative(self.nodes, self.constants)
        self.by_image = {_rows(node) for node in self.receivers} == {_rows(self.image)}

    def _read(self, node: fx.Node) -> None:
        if node.op == "call_function" and _overwrites(node):
            raise self.unsupported(node, "it overwrites its input", can_differentiate=False)
        if _tensors(node) and not self.reading.isdisjoint(_read_by(node)):
            self.reading.add(node)

    def inputs(self, node: fx.Node) -> list[fx.Node]:
        """Every argument that carries the image, as often as it is given, in lists and by name."""
        return [arg for arg in _read_by(known.whole(node)) if self._carries(arg)]

    def _carries(self, node: fx.Node) -> bool:
        """Whether the node's value changes with the image, and not in steps alone."""
        return node in self.reading and any(each.is_floating_point() for each in _tensors(node))

    def only_user(self, node: fx.Node) -> fx.Node | None:
        """The only reader of this node; None if there are several, or propagation ends here."""
        return next(iter(node.users)) if len(node.users) == 1 and node is not self.stop else None

    def unsupported(self, node: fx.Node, why: str, can_differentiate: bool = True) -> InputError:
        """The error for an operation without a rule: names the layer and what to do."""
        where = f"{self.paths.get(node) or 'the network itself'} ({known.whole(node).target})"
        instead = "; with explainer.unsupported=gradient it is passed as input times gradient"
        return InputError(
            "explainer",
            "lrp",
            f"cannot pass {where}: {why}"
            f"{instead if can_differentiate else '; another method must explain it'}",
        )

    @cached_property
    def whole(self) -> dict[fx.Node, tuple[fx.Node, ...]]:
        """The receivers if propagation ended at the image; no operation is refused."""
        return self._followed(self.image, lambda node: self._goes_to(node, is_lenient=True))

    def _receivers(self) -> dict[fx.Node, tuple[fx.Node, ...]]:
        found = self._followed(self.stop, self._goes_to)
        if self.stop not in found:
            raise InputError(
                "explainer.layer", self.paths[self.stop], "must be a layer that relevance reaches"
            )
        return found

    def _followed(self, stop: fx.Node, goes_to: Any) -> dict[fx.Node, tuple[fx.Node, ...]]:
        found: dict[fx.Node, tuple[fx.Node, ...]] = {}
        waiting = [self.logits]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found[node] = () if node in (self.image, stop) else tuple(goes_to(node))
                waiting.extend(found[node])
        return found

    def _goes_to(self, node: fx.Node, is_lenient: bool = False) -> list[fx.Node]:
        inputs, is_lenient = self.inputs(node), is_lenient or self.allows_gradient
        in_steps = [
            arg
            for arg in _read_by(known.whole(node))
            if arg in self.reading and not self._carries(arg)
        ]
        if in_steps and node.target not in _CHOOSES and not is_lenient:
            raise self.unsupported(node, "it reads a comparison or a position in the image")
        if len(inputs) > 1:
            return self._passing(node, inputs)
        return inputs

    def _passing(self, node: fx.Node, inputs: list[fx.Node]) -> list[fx.Node]:
        """The inputs that do not count as constant: gates, weights, divisors and attention do.

        Two factors of which neither is a gate share the relevance.
        """
        if node.target in known.MEASURED and node.args[known.MEASURED[node.target]] in inputs:
            return [node.args[known.MEASURED[node.target]]]  # type: ignore[list-item]
        if node.target not in (*known.PRODUCTS, *known.MULTILINEAR):
            return inputs
        gates = [self._is_gate(factor) for factor in inputs]
        if all(gates) or not any(gates):
            if node.target in known.MULTILINEAR:
                return inputs
            # Their origin does not decide, so the smaller one is: one number per channel.
            counts = [math.prod(size(factor)) for factor in inputs]
            gates = [count < max(counts) for count in counts]
        return [factor for factor, gate in zip(inputs, gates, strict=True) if not gate]

    def _is_gate(self, node: fx.Node) -> bool:
        """Whether all of the value comes directly from `known.GATES`."""
        if node.target in known.GATES:
            return True
        is_passed = node.target in known.MOVES or node.target in (*known.ADDS, *known.PRODUCTS)
        inputs = self.inputs(node)
        return is_passed and bool(inputs) and all(self._is_gate(each) for each in inputs)


# Of the first argument, or of the second, they look at the shape alone.
_LIKE_FIRST: frozenset[Any] = frozenset(
    {
        aten.zeros_like.default,
        aten.ones_like.default,
        aten.full_like.default,
        aten.empty_like.default,
        aten.new_zeros.default,
        aten.new_ones.default,
        aten.new_full.default,
        aten.new_empty.default,
    }
)
_LIKE_SECOND: frozenset[Any] = frozenset(
    {aten.expand_as.default, aten.view_as.default, aten.reshape_as.default}
)
# What a comparison or a position says is which values count, and so a constant.
_CHOOSES: frozenset[Any] = frozenset(
    {
        *known.PRODUCTS,
        aten.where.self,
        aten.where.ScalarOther,
        aten.masked_fill.Scalar,
        aten.index.Tensor,
        aten.index_select.default,
        aten.gather.default,
    }
)


def _read_by(node: fx.Node) -> list[fx.Node]:
    """The nodes whose values an operation reads, as often as they are given, also in lists."""
    args = node.args
    if node.target in _LIKE_FIRST:
        args = args[1:]
    if node.target in _LIKE_SECOND:
        args = args[:1]
    return nodes_in(args, node.kwargs)


def nodes_in(*arguments: Any) -> list[fx.Node]:
    """The nodes in arguments, however nested."""
    found: list[fx.Node] = []
    fx.node.map_arg(arguments, lambda node: found.append(node) or node)  # type: ignore[func-returns-value]
    return found


def _tensors(node: fx.Node) -> list[Tensor]:
    """The tensors that the node computes; none for a size."""
    value = node.meta.get("val")
    parts: Iterable[Any] = value if isinstance(value, list | tuple) else [value]
    return [part for part in parts if isinstance(part, Tensor)]


def _rows(node: fx.Node) -> str:
    """The length of the first axis as a term in the number of images, which is a symbol."""
    return str(next(iter(node.meta["val"].shape), 0))


def _overwrites(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _attribute(module: Any, target: str) -> Any:
    for part in target.split("."):
        module = getattr(module, part)
    return module.detach() if isinstance(module, Tensor) else module


@torch.no_grad()
def _computed(node: fx.Node, constants: dict[fx.Node, Any]) -> Any:
    """A value computed from parameters alone, as in weight standardisation."""
    args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), constants.__getitem__)
    return node.target(*args, **kwargs)  # type: ignore[operator]


def size(node: fx.Node) -> tuple[int, ...]:
    """The shape of a node's value without the batch."""
    return tuple(int(length) for length in node.meta["val"].shape[1:])

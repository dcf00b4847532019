"""The activations of a graph, and which of them are rectifiers, however they are written."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from xai_sweep.graphs.placing import MOVES, is_pointwise

aten = torch.ops.aten

# Element-wise functions that stand between layers and are no rectifiers.
_SMOOTH: frozenset[Any] = frozenset(
    {
        aten.abs.default,
        aten.celu.default,
        aten.elu.default,
        aten.erf.default,
        aten.gelu.default,
        aten.glu.default,
        aten.hardsigmoid.default,
        aten.hardswish.default,
        aten.hardtanh.default,
        aten.leaky_relu.default,
        aten.log_sigmoid.default,
        aten.mish.default,
        aten.prelu.default,
        aten.rrelu.default,
        aten.selu.default,
        aten.sigmoid.default,
        aten.silu.default,
        aten.softplus.default,
        aten.tanh.default,
    }
)
# As a factor of something else, or behind the logits, they are no activations but gates; so is a
# hard sigmoid written out, relu6(x + 3) / 6.
_GATES: frozenset[Any] = frozenset(
    {aten.hardsigmoid.default, aten.sigmoid.default, aten.tanh.default}
)
_BOUNDED: frozenset[Any] = frozenset(
    {aten.clamp.default, aten.hardtanh.default, aten.relu6.default}
)
_SCALINGS: frozenset[Any] = frozenset({aten.div.Tensor, aten.mul.Tensor})
_PASSING: frozenset[Any] = frozenset({*MOVES, *_SCALINGS, aten.view.default})
_COMPARISONS: frozenset[Any] = frozenset({aten.gt.Scalar, aten.ge.Scalar})
_ZEROS: frozenset[Any] = frozenset(
    {aten.zeros.default, aten.zeros_like.default, aten.new_zeros.default}
)
_SAME: frozenset[Any] = frozenset(
    {aten.clone.default, aten.detach_.default, aten.expand.default, aten.lift_fresh_copy.default}
)


@dataclass(frozen=True)
class Activations:
    """Nodes of a graph whose values are activations.

    Attributes:
        rectifiers: ``max(x, 0)``, bounded from above or not, and the node of x.
        others: activations of another kind, and the node of x.
    """

    rectifiers: Mapping[fx.Node, fx.Node]
    others: Mapping[fx.Node, fx.Node]


def activations(graph: fx.GraphModule) -> Activations:
    """The activations of what depends on the image."""
    depends: set[fx.Node] = set()
    rectifiers: dict[fx.Node, fx.Node] = {}
    others: dict[fx.Node, fx.Node] = {}
    written: dict[Any, fx.Node] = {}
    for node in graph.graph.nodes:
        if node.op == "placeholder" or not depends.isdisjoint(node.all_input_nodes):
            depends.add(node)
            rectified = _rectified(graph, node)
            if rectified is not None and not _is_gate(node):
                rectifiers[node] = rectified
            elif node.target in _SMOOTH and not _is_gate(node):
                others[node] = node.all_input_nodes[0]
            elif node.target is aten.mul.Tensor and len(_sources(node, depends)) == 2:
                # Written out, such as SiLU: x sigmoid(x).
                x, inside = _gated_itself(node, depends)
                if x is not None and any(each.target in _SMOOTH | _BOUNDED for each in inside):
                    others[node] = written[node] = x
                    for each in inside:
                        rectifiers.pop(each, None)
                        others.pop(each, None)
            elif node.target in _SCALINGS and _only_source(node) in written:
                # A factor that belongs to it: x relu6(x + 3) / 6.
                others[node] = others.pop(node.all_input_nodes[0])
    return Activations(rectifiers, others)


def _sources(node: fx.Node, depends: set[fx.Node]) -> list[fx.Node]:
    return [each for each in node.all_input_nodes if each in depends]


def _only_source(node: fx.Node) -> fx.Node | None:
    """The only node that this one reads, if nothing else reads it."""
    sources = node.all_input_nodes
    return sources[0] if len(sources) == 1 and len(sources[0].users) == 1 else None


def _gated_itself(
    node: fx.Node, depends: set[fx.Node]
) -> tuple[fx.Node | None, tuple[fx.Node, ...]]:
    """The x of a product of two functions of x, element by element, and what is between."""
    first, second = (_chain(each, depends) for each in _sources(node, depends))
    x = next((each for each in second if each in first), None)
    if x is None:
        return None, ()
    return x, (*first[: first.index(x)], *second[: second.index(x)])


def _chain(node: fx.Node, depends: set[fx.Node]) -> list[fx.Node]:
    """A node and those before it of which it is a function, element by element."""
    found = [node]
    while True:
        sources = _sources(found[-1], depends)
        if len(sources) != 1 or not is_pointwise(found[-1]):
            return found
        found.append(sources[0])


def _rectified(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The x of ``max(x, 0)``; None if the node is something else."""
    args: list[Any] = [*node.args, *node.kwargs.values()]

    def is_zero(value: Any) -> bool:
        return _is_zero(graph, value)

    match node.target:
        case aten.relu.default | aten.relu6.default:
            x = args[0]
        case aten.hardtanh.default | aten.clamp.default | aten.clamp_min.default if len(
            args
        ) > 1 and is_zero(args[1]):
            x = args[0]
        case aten.leaky_relu.default if len(args) > 1 and is_zero(args[1]):
            x = args[0]
        case aten.threshold.default if is_zero(args[1]) and is_zero(args[2]):
            x = args[0]
        case aten.maximum.default | aten.max.other if is_zero(args[0]) or is_zero(args[1]):
            x = args[1] if is_zero(args[0]) else args[0]
        case aten.where.self | aten.where.ScalarOther if is_zero(args[2]):
            x = args[1] if _is_positive(graph, args[0], args[1]) else None
        case aten.mul.Tensor if isinstance(args[1], fx.Node):
            pairs = (args, args[::-1])
            x = next((x for x, mask in pairs if _is_positive(graph, mask, x)), None)
        case _:
            return None
    return x if isinstance(x, fx.Node) else None


def _is_positive(graph: fx.GraphModule, mask: Any, x: Any) -> bool:
    """Whether a mask is ``x > 0``, also as a number."""
    while isinstance(mask, fx.Node) and mask.target in (aten.to.dtype, aten.type_as.default):
        mask = mask.args[0]
    is_one = isinstance(mask, fx.Node) and mask.target in (*_COMPARISONS, aten.gt.Tensor)
    return is_one and mask.args[0] is x and _is_zero(graph, mask.args[1])


def _is_zero(graph: fx.GraphModule, value: Any) -> bool:
    while isinstance(value, fx.Node) and value.target in _SAME:
        value = value.args[0]
    if not isinstance(value, fx.Node):
        return type(value) in (int, float) and value == 0
    if value.op == "get_attr":
        held = operator.attrgetter(str(value.target))(graph)
        return isinstance(held, Tensor) and not held.any()
    return value.target in _ZEROS


def _is_gate(node: fx.Node) -> bool:
    """Whether a value only scales another one, or is the output."""
    is_hard = node.target in _BOUNDED and node.all_input_nodes[0].target is aten.add.Tensor
    return (node.target in _GATES or is_hard) and all(map(_is_scaling, node.users))


def _is_scaling(user: fx.Node) -> bool:
    if user.op == "output" or (user.target is aten.mul.Tensor and len(user.all_input_nodes) == 2):
        return True
    return user.target in _PASSING and all(map(_is_scaling, user.users))

"""Which values of a graph are proved to be at least zero, whatever the image.

Several rules are cheaper where no input is negative. A wrong claim would be a wrong heatmap whose
shares still sum to 1, so a value counts as non-negative only by a proof from the graph: from what
`_PROOFS` says of its operation, and from the actual values of constants. An operation without an
entry proves nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from xai_sweep.explainers.relevance.engine import operations as known

aten = torch.ops.aten

# Whether an argument is proved to be at least zero: a node, a number, a list of these, or None.
Holds = Callable[[Any], bool]
Proof = Callable[[Mapping[str, Any], Holds], bool]


def nonnegative(nodes: Iterable[fx.Node], constants: Mapping[fx.Node, Any]) -> set[fx.Node]:
    """The nodes whose values are at least zero for every image.

    Args:
        nodes: of the graph, in the order of computation.
        constants: values of nodes that do not depend on the image; they are looked at.
    """
    found: set[fx.Node] = set()

    def holds(argument: Any) -> bool:
        if isinstance(argument, fx.Node):
            return argument in found
        if isinstance(argument, list | tuple):
            return all(holds(each) for each in argument)
        return isinstance(argument, int | float) and argument >= 0

    for node in nodes:
        if node in constants:
            is_proved = _has_no_negative(constants[node])
        else:
            proof = _PROOFS.get(known.operation(node))
            is_proved = proof is not None and proof(known.arguments(node), holds)
        if is_proved:
            found.add(node)
    return found


def rectifies(node: fx.Node) -> bool:
    """Whether the operation's value is exactly zero wherever its input is negative."""
    if node.target in (aten.relu.default, aten.relu6.default):
        return True
    bounds = _BOUNDS.get(node.target)
    if bounds is None:
        return False
    given = known.arguments(node)
    low, high = (given.get(name) for name in bounds)
    return low == 0 and (high is None or (isinstance(high, int | float) and high >= 0))


def keeps_zero(node: fx.Node) -> bool:
    """Whether an activation maps 0 to 0."""
    if node.target not in _BOUNDS:
        return node.target not in known.SHIFTED
    low, high = (known.arguments(node).get(name) for name in _BOUNDS[node.target])
    return (low is None or low <= 0) and (high is None or high >= 0)


def _has_no_negative(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_complex() and bool((value >= 0).all())  # NaN is not
    return isinstance(value, int | float) and value >= 0


def _always(given: Mapping[str, Any], holds: Holds) -> bool:
    return True


def _if_input(given: Mapping[str, Any], holds: Holds) -> bool:
    """If the first argument is: what moves, pools, or maps numbers above zero to such."""
    return holds(next(iter(given.values())))


def _if_all(*names: str) -> Proof:
    """If all of these arguments are; one that is None adds nothing."""

    def proof(given: Mapping[str, Any], holds: Holds) -> bool:
        return all(given[name] is None or holds(given[name]) for name in names)

    return proof


def _if_any(given: Mapping[str, Any], holds: Holds) -> bool:
    return holds(given["self"]) or holds(given["other"])


def _product(given: Mapping[str, Any], holds: Holds) -> bool:
    is_square = isinstance(given["self"], fx.Node) and given["self"] is given["other"]
    return is_square or (holds(given["self"]) and holds(given["other"]))


# The names of the arguments that are the lower and the upper bound.
_BOUNDS: Mapping[Any, tuple[str, str]] = {
    aten.hardtanh.default: ("min_val", "max_val"),
    aten.clamp.default: ("min", "max"),
    aten.clamp.Tensor: ("min", "max"),
    aten.clamp_min.default: ("min", ""),
    aten.clamp_max.default: ("", "max"),
}


def _bounded(low: str, high: str) -> Proof:
    def proof(given: Mapping[str, Any], holds: Holds) -> bool:
        least, most = given.get(low), given.get(high)
        # An upper bound below zero wins over everything else.
        is_above = holds(given["self"]) or (least is not None and holds(least))
        return is_above and (most is None or holds(most))

    return proof


def _power(given: Mapping[str, Any], holds: Holds) -> bool:
    exponent = given["exponent"]
    is_even = isinstance(exponent, int | float) and exponent % 2 == 0
    return is_even or holds(given["self"])


def _padding(given: Mapping[str, Any], holds: Holds) -> bool:
    is_constant = given.get("mode", "constant") == "constant"
    value = given["value"]
    return holds(given["self"]) and (not is_constant or value is None or holds(value))


def _max_pool(given: Mapping[str, Any], holds: Holds) -> bool:
    # A dilated window may lie in the padding, which counts as minus infinity, altogether.
    dilation = given["dilation"]
    is_dense = set(dilation if isinstance(dilation, list | tuple) else [dilation]) == {1}
    return is_dense and holds(given["self"])


def _average(given: Mapping[str, Any], holds: Holds) -> bool:
    divisor = given["divisor_override"]
    return holds(given["self"]) and (divisor is None or divisor > 0)


def _softplus(given: Mapping[str, Any], holds: Holds) -> bool:
    return bool(given["beta"] > 0 and given["threshold"] >= 0)


def _threshold(given: Mapping[str, Any], holds: Holds) -> bool:
    return holds(given["value"]) and (holds(given["threshold"]) or holds(given["self"]))


_PROOFS: Mapping[Any, Proof] = {
    **dict.fromkeys(
        (
            aten.relu.default,
            aten.relu6.default,
            aten.sigmoid.default,
            aten.hardsigmoid.default,
            aten.exp.default,
            aten.abs.default,
            aten.square.default,
            aten.sqrt.default,
            aten.rsqrt.default,
            aten.softmax.int,
            aten.linalg_vector_norm.default,
            aten.norm.ScalarOpt_dim,
            aten.var.dim,
            aten.var.correction,
            aten.std.dim,
            aten.std.correction,
            aten.ones_like.default,
            aten.zeros_like.default,
            aten.new_ones.default,
            aten.new_zeros.default,
        ),
        _always,
    ),
    **dict.fromkeys(
        (
            *known.MOVES,
            *known.SUMS,
            aten.sum.default,
            aten.mean.default,
            aten.amax.default,
            aten.amin.default,
            *known.WINNERS,
            aten.adaptive_avg_pool1d.default,
            aten.repeat.default,
            aten.roll.default,
            aten.flip.default,
            aten.pixel_shuffle.default,
            aten.pixel_unshuffle.default,
            aten.channel_shuffle.default,
            aten.to.dtype,
            aten._to_copy.default,
            # Functions that are not negative right of zero.
            aten.leaky_relu.default,
            aten.prelu.default,
            aten.selu.default,
            aten.celu.default,
            aten.gelu.default,
            aten.silu.default,
            aten.mish.default,
            aten.hardswish.default,
            aten.tanh.default,
            aten.log1p.default,
            aten.reciprocal.default,
        ),
        _if_input,
    ),
    **{target: _bounded(*bounds) for target, bounds in _BOUNDS.items()},
    **dict.fromkeys(known.PADS, _padding),
    **dict.fromkeys((aten.mul.Tensor, aten.mul.Scalar), _product),
    **dict.fromkeys((aten.div.Tensor, aten.div.Scalar), _if_all("self", "other")),
    aten.add.Tensor: _if_all("self", "other", "alpha"),
    aten.cat.default: _if_all("tensors"),
    aten.stack.default: _if_all("tensors"),
    aten.maximum.default: _if_any,
    aten.max.other: _if_any,
    aten.minimum.default: _if_all("self", "other"),
    aten.min.other: _if_all("self", "other"),
    aten.where.self: _if_all("self", "other"),
    aten.addcmul.default: _if_all("self", "tensor1", "tensor2", "value"),
    aten.matmul.default: _if_all("self", "other"),
    aten.bmm.default: _if_all("self", "mat2"),
    aten.linear.default: _if_all("input", "weight", "bias"),
    aten.conv2d.default: _if_all("input", "weight", "bias"),
    aten.conv2d.padding: _if_all("input", "weight", "bias"),
    aten.elu.default: _if_all("self", "scale", "input_scale"),
    aten.pow.Tensor_Scalar: _power,
    known.MAX_POOL: _max_pool,
    aten.avg_pool2d.default: _average,
    aten.softplus.default: _softplus,
    aten.threshold.default: _threshold,
}

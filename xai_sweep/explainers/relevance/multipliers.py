"""DeepLIFT's multipliers: gradients of the captured graph with another rule at every operation."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, fx
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.graphs.capture import Captured

aten = torch.ops.aten

# Below this difference to the reference, the slope is the derivative.
_SAME = 1e-6
# Their gradient is the same everywhere, so that autograd's is the average.
_WEIGHTED: frozenset[Any] = frozenset(
    {aten.conv2d.default, aten.conv2d.padding, aten.linear.default, aten.batch_norm.default}
)
_SCALED: frozenset[Any] = frozenset(
    {aten.mul.Scalar, aten.div.Tensor, aten.div.Scalar, aten.neg.default, aten.to.dtype}
)
_LINEAR: frozenset[Any] = _WEIGHTED | frozenset(
    {
        aten.add.Tensor,
        aten.sub.Tensor,
        aten.cat.default,
        aten.stack.default,
        aten.mean.dim,
        aten.sum.dim_IntList,
        aten.avg_pool2d.default,
        aten.adaptive_avg_pool2d.default,
        aten.pad.default,
        aten.upsample_nearest2d.vec,
        aten.upsample_bilinear2d.vec,
        aten.view.default,
        aten.reshape.default,
        aten.flatten.using_ints,
        aten.permute.default,
        aten.transpose.int,
        aten.contiguous.default,
        aten.clone.default,
        aten.slice.Tensor,
        aten.select.int,
        aten.split.Tensor,
        aten.split_with_sizes.default,
        aten.chunk.default,
        aten.unbind.int,
        aten.squeeze.dim,
        aten.unsqueeze.default,
        aten.expand.default,
        aten.dropout.default,
    }
)
# Every result is one of the inputs: the largest, or with -1 the smallest.
_WINNERS: Mapping[Any, int] = {
    aten.max_pool2d.default: 1,
    aten.max_pool1d.default: 1,
    aten.amax.default: 1,
    aten.maximum.default: 1,
    aten.max.other: 1,
    aten.amin.default: -1,
    aten.minimum.default: -1,
    aten.min.other: -1,
    (aten.max.dim, 0): 1,
    (aten.min.dim, 0): -1,
    (aten.adaptive_max_pool2d.default, 0): 1,
    (aten.max_pool2d_with_indices.default, 0): 1,
}
# Points on the line from the reference to the image, until contributions add up.
_POINTS = (4, 16, 64, 256)
_EXACT = 1e-9


_Given = tuple[list[Tensor], Callable[..., Any], list[Tensor]]


class Multipliers(fx.Interpreter):
    """Runs the graph; its gradients are DeepLIFT's multipliers for this reference.

    Args:
        captured: the network.
        reference: the baseline.
        batch: how many images will be run.

    Attributes:
        reference_logits: of the baseline.

    Raises:
        InputError: an operation overwrites its input.
    """

    def __init__(self, captured: Captured, reference: Float[Tensor, "1 c h w"], batch: int) -> None:
        super().__init__(captured.graph)
        self.paths = captured.paths
        # Where images are taken apart, a single reference would not fit.
        copies = 1 if _keeps_images_apart(captured.graph) else batch
        run = _Reference(captured.graph)
        with torch.inference_mode(False), torch.no_grad():
            self.reference_logits: Tensor = run.run(reference.repeat(copies, 1, 1, 1))
        self.values = run.values
        self.whole: dict[fx.Node, _Given] = {}

    @override
    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        # The image is the only input: no rule is for parameters, which may be in training.
        return _detached(super().get_attr(target, args, kwargs))

    @override
    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op != "call_function" or not _is_differentiable(value):
            return value
        if _overwrites(n):
            where = f"{self.paths.get(n) or 'the network itself'} ({n.target})"
            why = f"cannot pass {where}: it overwrites its input"
            allowed = f"{why}; integrated_gradients explains it"
            raise InputError("explainer", "deep_lift", allowed)
        inputs = [each for each in n.all_input_nodes if _is_differentiable(self.env[each])]
        if n.target is operator.getitem and inputs[0] in self.whole:
            # One of several results of an operation, whose rule is applied to each by itself.
            return self._averaged(n, self.whole[inputs[0]], value)
        if _is_linear(n, inputs) or n.target is operator.getitem:
            return value
        if n.target is aten.mul.Tensor and len(inputs) == 2:
            return _Redirected.apply(self._product(n), value.detach())
        if _is_scalar(n) and len(inputs) == 1 and value.shape == self.env[inputs[0]].shape:
            return _Redirected.apply(self._rescale(n, inputs[0], value), value.detach())
        if isinstance(value, Tensor):
            return self._averaged(n, self._given(n, inputs), value)
        self.whole[n] = self._given(n, inputs)
        return value

    def _rescale(self, node: fx.Node, of: fx.Node, value: Tensor) -> Tensor:
        """``m = (f(x) - f(x0)) / (x - x0)``."""
        before, (_, function, _) = self.env[of], self._given(node, [of])
        change = before.detach() - self.values[of]
        at = before.detach().requires_grad_()
        (derivative,) = torch.autograd.grad(function(at).sum(), at)
        slope = (value.detach() - self.values[node]) / change
        found: Tensor = slope.where(change.abs() > _SAME, derivative) * before
        return found

    def _product(self, node: fx.Node) -> Tensor:
        """``xy - x0 y0 = (x - x0) (y + y0) / 2 + (y - y0) (x + x0) / 2``."""
        (x, y), _ = self.fetch_args_kwargs_from_env(node)
        x0, y0 = (self.values[factor] for factor in node.args)  # type: ignore[index]
        found: Tensor = x * (y.detach() + y0) / 2 + y * (x.detach() + x0) / 2
        return found

    def _averaged(self, node: fx.Node, given: "_Given", value: Tensor) -> Tensor:
        inputs, function, starts = given
        is_piece = node.target is operator.getitem
        sign = _WINNERS.get((node.args[0].target, node.args[1]) if is_piece else node.target, 0)  # type: ignore[union-attr]
        rule = _Selected if sign else _Averaged
        found: Tensor = rule.apply(
            (lambda *x: function(*x)[node.args[1]]) if is_piece else function,
            sign,
            value.detach(),
            self.values[node].expand_as(value),
            starts,
            *inputs,
        )
        return found

    def _given(self, node: fx.Node, of: list[fx.Node]) -> "_Given":
        """Inputs of an operation, the operation as a function of them, and the reference's."""
        inputs = [self.env[each] for each in of]
        own = {each: _detached(self.env[each]) for each in node.all_input_nodes if each not in of}

        def function(*given: Tensor) -> Any:
            values = {**own, **dict(zip(of, given, strict=True))}
            args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), values.__getitem__)
            return node.target(*args, **kwargs)  # type: ignore[operator]

        starts = [self.values[each].expand_as(x) for each, x in zip(of, inputs, strict=True)]
        return inputs, function, starts


class _Reference(fx.Interpreter):
    """Runs the graph, and keeps the value of every node."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.values: dict[fx.Node, Any] = {}

    @override
    def run_node(self, n: fx.Node) -> Any:
        self.values[n] = super().run_node(n)
        return self.values[n]


class _Redirected(torch.autograd.Function):
    """A value whose gradient goes to ``receiver``."""

    @staticmethod
    def forward(_context: Any, _receiver: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _Averaged(torch.autograd.Function):
    """An operation whose gradient is averaged on the line from the reference's inputs.

    ``m_j = int_0^1 df/dx_j(x0 + t (x - x0)) dt``, by Gauss and Legendre, with as many points as it
    takes until ``sum_j m_j (x_j - x0_j)`` is the difference of the outputs.
    """

    @staticmethod
    def forward(
        context: Any,
        function: Callable[..., Tensor],
        _sign: int,
        value: Tensor,
        value0: Tensor,
        starts: list[Tensor],
        *inputs: Tensor,
    ) -> Tensor:
        context.function, context.change, context.starts = function, value - value0, starts
        context.inputs = [each.detach() for each in inputs]
        return value.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Any:
        differences = [x - x0 for x, x0 in zip(context.inputs, context.starts, strict=True)]
        whole = (gradient * context.change).sum()
        size = (gradient * context.change).abs().sum()
        exact = max(_EXACT, 100 * torch.finfo(gradient.dtype).eps)
        found: list[Tensor] = []
        for points in _POINTS:
            nodes, weights = np.polynomial.legendre.leggauss(points)
            found = [torch.zeros_like(x) for x in context.inputs]
            for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
                at = [
                    x0 + float(node) * difference
                    for x0, difference in zip(context.starts, differences, strict=True)
                ]
                slopes = _backward(context.function, at, gradient)
                found = [m + float(weight) * s for m, s in zip(found, slopes, strict=True)]
            parts = [(m * d).sum() for m, d in zip(found, differences, strict=True)]
            if (sum(parts) - whole).abs() <= exact * size:
                break
        return None, None, None, None, None, *found


class _Selected(torch.autograd.Function):
    """A maximum: a rise goes to the image's largest input, a fall to the reference's.

    With ``S`` that selects the image's largest input and ``S0`` the reference's, the rise
    ``max(y, y0) - y0`` is shared out by ``S`` and the fall by ``S0``, each over the change of the
    input that it goes to. A minimum is the maximum with its sign changed.
    """

    @staticmethod
    def forward(
        context: Any,
        function: Callable[..., Tensor],
        sign: int,
        value: Tensor,
        value0: Tensor,
        starts: list[Tensor],
        *inputs: Tensor,
    ) -> Tensor:
        context.function, context.starts = function, starts
        context.inputs = [each.detach() for each in inputs]
        most = sign * torch.maximum(sign * value, sign * value0)
        context.rise, context.fall = most - value0, value - most
        return value.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Any:
        differences = [x - x0 for x, x0 in zip(context.inputs, context.starts, strict=True)]
        found = [torch.zeros_like(x) for x in context.inputs]
        for at, part in ((context.inputs, context.rise), (context.starts, context.fall)):
            moved = _forward(context.function, at, differences)
            slope = (part / moved).where(moved.abs() > _SAME, 0)
            shares = _backward(context.function, at, gradient * slope)
            found = [m + share for m, share in zip(found, shares, strict=True)]
        return None, None, None, None, None, *found


def _backward(
    function: Callable[..., Tensor], at: list[Tensor], gradient: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of the operation at these inputs, weighted by those of its output."""
    leaves = [each.clone().requires_grad_() for each in at]
    with torch.enable_grad():
        return torch.autograd.grad(function(*leaves), leaves, gradient, materialize_grads=True)


def _forward(function: Callable[..., Tensor], at: list[Tensor], along: list[Tensor]) -> Tensor:
    """How the operation's output changes along a direction: the gradient of its gradient."""
    leaves = [each.clone().requires_grad_() for each in at]
    with torch.enable_grad():
        value = function(*leaves)
        weights = torch.zeros_like(value).requires_grad_()
        slopes = torch.autograd.grad(value, leaves, weights, create_graph=True)
        return torch.autograd.grad(slopes, weights, along)[0]


def _is_linear(node: fx.Node, inputs: list[fx.Node]) -> bool:
    """Whether the gradient for these inputs is the same everywhere."""
    is_scaled = node.target in _SCALED and inputs == [node.args[0]]
    is_scaled |= node.target is aten.mul.Tensor and len(inputs) == 1
    return is_scaled or (node.target in _LINEAR and _are_sums(node, inputs))


def _are_sums(node: fx.Node, inputs: list[fx.Node]) -> bool:
    """Whether a layer's weights do not depend on the image, or the operation has none."""
    return node.target not in _WEIGHTED or inputs == [node.args[0]]


def _is_scalar(node: fx.Node) -> bool:
    """Whether the operation is a function of every value by itself."""
    return (
        isinstance(node.target, torch._ops.OpOverload) and torch.Tag.pointwise in node.target.tags
    )


def _overwrites(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _is_differentiable(value: Any) -> bool:
    parts = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(each, Tensor) and each.requires_grad for each in parts)


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _keeps_images_apart(graph: fx.GraphModule) -> bool:
    """Whether the first axis of every value is that of the images."""
    images = next(node for node in graph.graph.nodes if node.op == "placeholder")
    count = str(images.meta["val"].shape[0])
    values = [node.meta.get("val") for node in graph.graph.nodes]
    shapes = [[str(length) for length in each.shape] for each in values if isinstance(each, Tensor)]
    return all(count == shape[0] or count not in "".join(shape) for shape in shapes if shape)

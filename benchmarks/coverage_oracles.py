"""What the methods should give, computed in another way: slowly, and as few lines as will do."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import captum.attr
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


def gradients(logits: Tensor, at: Tensor, targets: Tensor) -> Tensor:
    """``[B, K, ...]``: of every target's logit at ``at``."""
    chosen = logits.gather(1, targets).unbind(dim=1)
    return torch.stack(
        [torch.autograd.grad(each.sum(), at, retain_graph=True)[0] for each in chosen], dim=1
    )


def input_times_gradient(
    function: Callable[[Tensor], Tensor], x: Tensor, targets: Tensor
) -> Tensor:
    """``[B, K, H, W]``."""
    pixels = x.clone().requires_grad_()
    found = gradients(function(pixels.clone()), pixels, targets)
    return (found * x[:, None]).sum(dim=2)


# --- LRP: the network in which every activation, gate and deviation counts as a constant factor ---

ACTIVATIONS = (
    "relu relu6 hardtanh leaky_relu prelu elu selu celu gelu silu mish hardswish tanh softplus "
    "sigmoid hardsigmoid pow square sqrt exp log abs sin cos clamp clamp_min erf"
)
GATES = "sigmoid hardsigmoid softmax tanh"
# What a gate may still pass before the product.
CARRIES = (
    "view reshape flatten squeeze unsqueeze expand expand_as permute transpose slice select "
    "getitem chunk split split_with_sizes contiguous clone add mul sub alias unbind repeat narrow "
    "upsample_nearest2d upsample_bilinear2d dropout"
)


class Linearised(fx.Interpreter):
    """Runs a captured graph; its gradient times its input is LRP-0.

    An activation ``f(x)`` is ``x (f(x) / x)``, a product with a gate is a product with a constant,
    a normalisation divides by a constant: the numbers in brackets are detached. Two factors that
    are no gates share evenly. All other operations are differentiated, which for linear ones is
    LRP-0.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.gates: set[fx.Node] = set()

    def run_node(self, n: fx.Node) -> Any:
        """The value, with what counts as constant detached."""
        name = str(getattr(n.target, "__name__", n.target)).partition(".")[0].rstrip("_")
        if n.op != "call_function":
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        reads = [
            each
            for each in n.all_input_nodes
            if isinstance(self.env[each], Tensor) and self.env[each].requires_grad
        ]
        is_carried = name in CARRIES.split() and reads and all(each in self.gates for each in reads)
        if name in GATES.split() or is_carried:
            self.gates.add(n)
        function = partial(n.target, **kwargs)
        if name in ACTIVATIONS.split() and len(reads) == 1:
            return over_itself(function, args)
        if name in ("conv2d", "linear", "div") and len(reads) == 2:
            return function(args[0], args[1].detach(), *args[2:])
        if name in ("mul", "matmul", "bmm") and n.args[0] is n.args[1]:
            return (function(args[0], args[0].detach()) + function(args[0].detach(), args[0])) / 2
        if name in ("mul", "matmul", "bmm") and len(reads) == 2:
            gates = [each in self.gates for each in n.args]
            if gates[0] == gates[1] and name == "mul":
                gates = [each.numel() < max(a.numel() for a in args) for each in args]
            left, right = function(args[0], args[1].detach()), function(args[0].detach(), args[1])
            return right if gates[0] else left if gates[1] else (left + right) / 2
        if name == "scaled_dot_product_attention":
            return function(args[0].detach(), args[1].detach(), *args[2:])
        if name in ("var", "einsum"):
            return shared(function, args)
        if name in ("layer_norm", "group_norm", "rms_norm"):
            return normalised(name, *args)
        return super().run_node(n)


def shared(function: Any, args: Any) -> Any:
    """Half of the gradient, for the variance and for products of two that depend on the image."""
    value = function(*args)
    parts = [each for each in tree_leaves(args) if isinstance(each, Tensor) and each.requires_grad]
    return value if len(parts) == 1 and "var" not in str(function) else Halved.apply(value)


class Halved(torch.autograd.Function):
    """A value with half of its gradient."""

    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        """The value."""
        return value.view_as(value)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        """Half."""
        return gradient / 2


def over_itself(function: Any, args: Any) -> Tensor:
    """``x (f(x) / x)``, or ``f(0)`` where x is 0."""
    x, *rest = args
    with torch.no_grad():
        value = function(x, *rest)
        factor = torch.where(x == 0, 0, value / x)
    return torch.where(x == 0, value, x * factor)


def normalised(name: str, x: Tensor, second: Any, *rest: Any) -> Tensor:
    """Layer or group normalisation whose deviation is a constant."""
    weight, bias, eps, *_ = [*rest, *(None, None, 1e-5)[len(rest) :]]
    if name == "rms_norm":
        weight, eps = [*rest, *(None, None)[len(rest) :]][:2]
        dims = tuple(range(-len(second), 0))
        size = x.square().mean(dims, keepdim=True).detach() + (eps or torch.finfo(x.dtype).eps)
        return x * size.rsqrt() * (1 if weight is None else weight)
    if name == "group_norm":
        groups = x.reshape(len(x), second, -1)
        scaled = (groups - groups.mean(2, keepdim=True)) * (
            groups.var(2, keepdim=True, unbiased=False).detach() + eps
        ).rsqrt()
        scaled, shape = scaled.reshape(x.shape), (1, -1, *[1] * (x.dim() - 2))
    else:
        dims, shape = tuple(range(-len(second), 0)), tuple(second)
        variance = x.var(dims, keepdim=True, unbiased=False).detach()
        scaled = (x - x.mean(dims, keepdim=True)) * (variance + eps).rsqrt()
    scaled = scaled if weight is None else scaled * weight.reshape(shape)
    return scaled if bias is None else scaled + bias.reshape(shape)


# --- guided backpropagation: the network itself, with other rectifiers ---


class Guided(torch.autograd.Function):
    """ReLU, or ReLU6, that passes positive gradients only."""

    @staticmethod
    def forward(context: Any, x: Tensor, low: float, high: float) -> Tensor:
        """Between the bounds."""
        context.save_for_backward((x > low) & (x < high))
        return x.clamp(low, high)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Where the rectifier is open, if positive."""
        (is_open,) = context.saved_tensors
        return gradient.clamp(min=0) * is_open, None, None


@contextmanager
def guided_rectifiers() -> Iterator[list[int]]:
    """Every ReLU, ReLU6 and Hardtanh is `Guided`; yields a list that grows by each call."""
    calls: list[int] = []

    def made(low: float, high: float) -> Callable[..., Tensor]:
        def rectify(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            calls.append(1)
            bounds = [each for each in args if not isinstance(each, bool)]
            return Guided.apply(x, *(bounds if len(bounds) == 2 else (low, high)))

        return rectify

    infinite, six, one = made(0, float("inf")), made(0, 6), made(-1, 1)
    places = [(F, "relu", infinite), (F, "relu_", infinite), (torch, "relu", infinite)]
    places += [(torch, "relu_", infinite), (Tensor, "relu", infinite), (Tensor, "relu_", infinite)]
    places += [(F, "relu6", six), (F, "hardtanh", one), (F, "hardtanh_", one)]
    with ExitStack() as stack:
        for owner, name, function in places:
            stack.enter_context(patch.object(owner, name, function))
        yield calls


def guided(module: nn.Module, x: Tensor, targets: Tensor) -> tuple[Tensor, int]:
    """The map ``[B, K, H, W]`` and how many rectifiers ran."""
    with guided_rectifiers() as calls:
        pixels = x.clone().requires_grad_()
        found = gradients(module(pixels.clone()), pixels, targets).sum(dim=2)
    return found, len(calls)


# --- Grad-CAM: hooks on the layers that people name ---


def usual_maps(module: nn.Module, x: Tensor, targets: Tensor) -> list[Tensor]:
    """Grad-CAM, signed and small, at the output of every module of the network, by its layout.

    Channels-first, channels-last and tokens are told apart by what the network says of itself: its
    number of features and of prefix tokens.
    """
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _args: Any, output: Any) -> None:
        is_map = isinstance(output, Tensor) and output.dim() in (3, 4) and output.requires_grad
        if is_map and len(output) == len(x):  # no table of positions
            outputs.append(output)

    handles = [part.register_forward_hook(keep) for part in module.modules()]
    try:
        logits = module(x.clone().requires_grad_().clone())
    finally:
        for handle in handles:
            handle.remove()
    chosen = logits.gather(1, targets).unbind(dim=1)
    found = []
    for output in outputs[-60:]:
        grads = [
            torch.autograd.grad(each.sum(), output, retain_graph=True, allow_unused=True)[0]
            for each in chosen
        ]
        if any(grad is None for grad in grads):
            continue
        for maps, *of_targets in layouts(module, [output.detach(), *grads]):
            weights = [grad.mean(dim=(2, 3), keepdim=True) for grad in of_targets]
            found.append(torch.stack([(w * maps).sum(dim=1) for w in weights], dim=1))
    return found


def layouts(module: nn.Module, tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors as ``[B, C, H, W]``, in each way in which they may be meant."""
    shape = tensors[0].shape
    if len(shape) == 4:
        if shape[2] == shape[3] and shape[2] > 1:
            yield tensors
        if shape[1] == shape[2] and shape[1] > 1:
            yield [each.permute(0, 3, 1, 2) for each in tensors]
        return
    for axis in (1, 2):
        for prefix in {int(getattr(module, "num_prefix_tokens", 0) or 0), 0, 1}:
            side = round((shape[axis] - prefix) ** 0.5)
            if side > 1 and side * side == shape[axis] - prefix:
                tokens = [each if axis == 1 else each.mT for each in tensors]
                yield [each[:, prefix:].mT.reshape(len(each), -1, side, side) for each in tokens]


# --- the rest ---


def integrated(module: nn.Module, x: Tensor, targets: Tensor, steps: int) -> Tensor:
    """Integrated gradients of captum from the mean image, ``[B, K, H, W]``."""
    method = captum.attr.IntegratedGradients(module)
    return torch.stack(
        [
            method.attribute(x, torch.zeros_like(x), target=each, n_steps=steps).sum(dim=1)
            for each in targets.unbind(dim=1)
        ],
        dim=1,
    ).detach()


def surrogate(masks: np.ndarray, scores: np.ndarray, kernel_width: float) -> np.ndarray:
    """LIME's coefficients as the `lime` package computes them, for one image and one class."""
    shown = masks.mean(axis=1)
    distance = 1 - np.sqrt(shown)
    weights = np.sqrt(np.exp(-(distance**2) / kernel_width**2))
    fitted: np.ndarray = Ridge(alpha=1).fit(masks, scores, sample_weight=weights).coef_
    return fitted


def weight_shapes(module: nn.Module, x: Tensor) -> list[torch.Size]:
    """Of every convolution and linear layer, in the order in which they run."""
    found: list[torch.Size] = []
    conv, linear = F.conv2d, F.linear

    def convolved(x: Tensor, weight: Tensor, *args: Any, **named: Any) -> Tensor:
        found.append(weight.shape)
        return conv(x, weight, *args, **named)

    def multiplied(x: Tensor, weight: Tensor, *args: Any, **named: Any) -> Tensor:
        found.append(weight.shape)
        return linear(x, weight, *args, **named)

    with (
        torch.no_grad(),
        patch.object(F, "conv2d", convolved),
        patch.object(F, "linear", multiplied),
    ):
        module(x)
    return found


class Replaced(torch.autograd.Function):
    """A layer whose gradient goes back through other weights."""

    @staticmethod
    def forward(_context: Any, _receiver: Tensor, value: Tensor) -> Tensor:
        """The value."""
        return value.clone()

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """To the receiver."""
        return gradient, None


def gradient_through(
    module: nn.Module, weights: list[Tensor], x: Tensor, targets: Tensor
) -> Tensor:
    """The gradient, summed over channels, where the n-th layer's weight on the way back is another.

    ``weights`` are those of every convolution and linear layer, in the order in which they run.
    """
    left = iter(weights)
    conv, linear = F.conv2d, F.linear

    def convolved(x: Tensor, weight: Tensor, bias: Any = None, *args: Any, **named: Any) -> Tensor:
        value = conv(x, weight, bias, *args, **named).detach()
        back = conv(x, next(left).view_as(weight), None, *args, **named)
        return Replaced.apply(back, value)

    def multiplied(x: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
        value = linear(x, weight, bias).detach()
        return Replaced.apply(linear(x, next(left).view_as(weight)), value)

    with patch.object(F, "conv2d", convolved), patch.object(F, "linear", multiplied):
        pixels = x.clone().requires_grad_()
        logits = module(pixels.clone())
        return gradients(logits, pixels, targets).sum(dim=2)

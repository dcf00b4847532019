"""Gradients on the captured graph, with another backward rule at every rectifier."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx

from xai_sweep.explainers.base import differentiable, target_gradients
from xai_sweep.models.capture import capture
from xai_sweep.models.classifier import Classifier
from xai_sweep.models.folded import folded

aten = torch.ops.aten


class _Positive(torch.autograd.Function):
    """A value whose gradient is handed to ``receiver``, negative parts dropped."""

    @staticmethod
    def forward(_context: Any, _receiver: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.clamp(min=0), None


class _Rectified(fx.Interpreter):
    """Runs the graph; here every rectifier is an operation, be it a module, a function, re-used."""

    rectifiers: ClassVar[frozenset[Any]] = frozenset(
        {aten.relu.default, aten.relu6.default, aten.hardtanh.default}
    )

    def __init__(self, graph: fx.GraphModule, own_derivative: bool) -> None:
        super().__init__(graph)
        self.own_derivative = own_derivative

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().call_function(target, args, kwargs)
        if target not in self.rectifiers:
            return value
        # Behind the rectifier autograd itself adds its derivative; before it, nothing does.
        return _Positive.apply(value if self.own_derivative else args[0], value.detach())


def rectified_gradients(
    classifier: Classifier,
    images: Float[Tensor, "b c h w"],
    targets: Int64[Tensor, "b k"],
    own_derivative: bool,
) -> Float[Tensor, "b k c h w"]:
    """Gradients of the target logits at the pixels, negative parts dropped at every rectifier.

    Args:
        classifier: any network that can be captured.
        images: ``[B, C, H, W]``.
        targets: ``int64[B, K]``.
        own_derivative: whether the derivative of the rectifier itself counts too: with it guided
            backpropagation, without it the deconvnet.

    Raises:
        InputError: a target that is not a class, or a network that cannot be captured.
    """
    if images.dtype == torch.float64:
        graph = capture(classifier, images).graph
    else:
        graph = folded(classifier, images, in_place=False)
    with differentiable(images) as pixels:
        logits = _Rectified(graph, own_derivative).run(pixels)
        return target_gradients(logits, pixels, targets)

"""Gradients on the captured graph, with another backward rule at every rectifier."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx

from xai_sweep.explainers.base import Explain, Explainer, differentiable, target_gradients
from xai_sweep.graphs.capture import capture
from xai_sweep.graphs.folded import folded
from xai_sweep.models.classifier import Classifier

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

    def __init__(self, graph: fx.GraphModule, receiver: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(graph)
        self.receiver = receiver

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().call_function(target, args, kwargs)
        if target not in self.rectifiers:
            return value
        return _Positive.apply(self.receiver(args[0], value), value.detach())


class RectifiedGradient(Explainer):
    """The gradient, its negative parts dropped at every rectifier.

    Works on the captured graph, so functional, in-place and re-used ReLUs count, and ReLU6 too.
    Smooth activations such as SiLU keep their gradient: the methods are not defined for them.
    """

    @staticmethod
    @abstractmethod
    def receiver(before: Tensor, after: Tensor) -> Tensor:
        """Where the gradient goes on that has arrived behind a rectifier: one of the two.

        What is given to the value behind it gets the rectifier's own derivative from autograd;
        what is given to the value before it does not.
        """

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            if images.dtype == torch.float64:
                graph = capture(classifier, images).graph
            else:
                graph = folded(classifier, images, in_place=False)
            with differentiable(images) as pixels:
                logits = _Rectified(graph, self.receiver).run(pixels)
                return target_gradients(logits, pixels, targets).sum(dim=2)

        return explain

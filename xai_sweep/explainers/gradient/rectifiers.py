"""Gradients on the captured graph, with another backward rule at every rectifier."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx
from typing_extensions import override

from xai_sweep.explainers.base import Explained, Explainer, Needs, differentiable, target_gradients
from xai_sweep.graphs.capture import capture
from xai_sweep.graphs.folded import folded
from xai_sweep.models.classifier import Classifier

aten = torch.ops.aten


class _Positive(torch.autograd.Function):
    """A value whose gradient goes to ``receiver``, without its negative parts."""

    @staticmethod
    def forward(_context: Any, _receiver: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.clamp(min=0), None


class _Rectified(fx.Interpreter):
    """Runs the graph, in which functional and re-used rectifiers are operations like any other."""

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
    """The gradient, with its negative parts dropped at every rectifier.

    Works on the captured graph, so functional, in-place and re-used ReLUs count, and ReLU6 too.
    Smooth activations such as SiLU keep their gradient, since the methods do not define another.
    """

    needs: ClassVar[Needs] = "graph"

    @staticmethod
    @abstractmethod
    def receiver(before: Tensor, after: Tensor) -> Tensor:
        """Which of the two receives the gradient that has arrived behind a rectifier.

        A gradient for the value behind the rectifier is multiplied by the rectifier's derivative
        on its way, by autograd; one for the value before it is not.

        Args:
            before: the rectifier's input.
            after: its output.
        """

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        if images.dtype == torch.float64:
            graph = capture(classifier, images).graph
        else:
            graph = folded(classifier, images, in_place=False)
        with differentiable(images) as pixels:
            logits = _Rectified(graph, self.receiver).run(pixels)
            return Explained(target_gradients(logits, pixels, targets).sum(dim=2))

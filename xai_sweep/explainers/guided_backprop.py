"""Guided backpropagation on the captured graph."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx

from xai_sweep.explainers.base import Explain, Explainer, target_gradients
from xai_sweep.models.capture import capture
from xai_sweep.models.classifier import Classifier

aten = torch.ops.aten


class _Guide(torch.autograd.Function):
    """The identity, whose backward pass lets only positive relevance through."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return gradient.clamp(min=0)


class _Guided(fx.Interpreter):
    """Runs the graph with a guide behind every rectifier; autograd itself adds the rectifier's."""

    rectifiers: ClassVar[frozenset[Any]] = frozenset(
        {aten.relu.default, aten.relu6.default, aten.hardtanh.default}
    )

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().call_function(target, args, kwargs)
        return _Guide.apply(value) if target in self.rectifiers else value


@dataclass(frozen=True)
class GuidedBackprop(Explainer):
    """The gradient with negative parts dropped behind every ReLU, in the forward and backward pass.

    Works on the captured graph, so functional, in-place and re-used ReLUs count, and ReLU6 too.
    Where the network saturates (z > 6) a ReLU6 passes nothing. Smooth activations such as SiLU
    keep their gradient: the method is not defined for them.

    Source: Springenberg et al. 2014, "Striving for simplicity", section 3.4.
    """

    source: ClassVar[str] = "Springenberg et al. 2014, arXiv:1412.6806"

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            graph = capture(classifier, images).graph
            pixels = images.detach().requires_grad_()
            with torch.enable_grad():
                logits = _Guided(graph).run(pixels)
                return target_gradients(logits, pixels, targets).sum(dim=2)

        return explain

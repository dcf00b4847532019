"""DeepLIFT on the captured graph."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.explainers.base import (
    Explained,
    Explainer,
    differentiable,
    target_gradients,
    target_scores,
)
from xai_sweep.explainers.baselines import (
    BASELINE_FACTS,
    Baseline,
    baseline_facts,
    baseline_like,
)
from xai_sweep.graphs.capture import Captured, capture
from xai_sweep.models.classifier import Classifier

aten = torch.ops.aten

_ELEMENTWISE = frozenset(
    {
        aten.relu.default,
        aten.relu6.default,
        aten.hardtanh.default,
        aten.leaky_relu.default,
        aten.elu.default,
        aten.silu.default,
        aten.gelu.default,
        aten.mish.default,
        aten.sigmoid.default,
        aten.tanh.default,
        aten.softplus.default,
        aten.hardswish.default,
        aten.hardsigmoid.default,
    }
)
# Below this difference to the reference, the slope is the derivative.
_SAME = 1e-6


@dataclass(frozen=True)
class DeepLift(Explainer):
    """Contributions to the difference of the target's logit from that of a baseline.

    The rescale rule applies to every scalar function and to max pooling. A product of two
    activations, as in squeeze-and-excitation, is shared evenly between its factors. With these
    rules the heatmap sums to the logit of the image minus that of the baseline. Any other nonlinear
    operation, such as layer normalisation or softmax inside a network, is passed by its gradient.

    captum hooks modules, and skips or refuses functional and re-used activations; this works on
    the captured graph, with one forward pass for all K targets.

    Source: Shrikumar, Greenside, Kundaje 2017, "Learning important features through propagating
    activation differences", equations 1 to 5 and section 3.5.2.

    Attributes:
        baseline: ``mean`` (zero in the network's normalised space), ``black`` or ``white``.
    """

    baseline: Baseline = "mean"

    conserves: ClassVar[bool] = True
    facts: ClassVar[tuple[Column, ...]] = BASELINE_FACTS
    source: ClassVar[str] = "Shrikumar et al. 2017, arXiv:1704.02685"

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return 2.0 + targets  # one pass of the baseline serves all images of a batch

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        captured = capture(classifier, images)
        reference = baseline_like(images[:1], self.baseline, classifier)
        with differentiable(images) as pixels:
            run = _Rescaled(captured, reference)
            logits = run.run(pixels)
            multipliers = target_gradients(logits, pixels, targets)
            ends = target_scores(run.reference_logits.expand_as(logits), targets)
        heatmaps = ((images.detach() - reference).unsqueeze(1) * multipliers).sum(dim=2)
        return Explained(heatmaps, baseline_facts(heatmaps, target_scores(logits, targets), ends))


class _Redirected(torch.autograd.Function):
    """A value whose gradient goes to ``receiver``."""

    @staticmethod
    def forward(_context: Any, _receiver: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _Reference(fx.Interpreter):
    """Runs the graph, and keeps the value of every node."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.values: dict[fx.Node, Any] = {}

    @override
    def run_node(self, n: fx.Node) -> Any:
        self.values[n] = super().run_node(n)
        return self.values[n]


class _Rescaled(fx.Interpreter):
    """Runs the graph; its gradients are DeepLIFT's multipliers for this reference."""

    def __init__(self, captured: Captured, reference: Float[Tensor, "1 c h w"]) -> None:
        super().__init__(captured.graph)
        run = _Reference(captured.graph)
        with torch.inference_mode(False), torch.no_grad():
            self.reference_logits: Tensor = run.run(reference.clone())
        self.values = run.values
        self.rules: dict[Any, Callable[[fx.Node, Tensor], Tensor]] = {
            aten.mul.Tensor: self._product,
            aten.max_pool2d.default: self._max_pool,
            **dict.fromkeys(_ELEMENTWISE, self._rescale),
        }

    @override
    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.target not in self.rules:
            return value
        return _Redirected.apply(self.rules[n.target](n, value), value.detach())

    def _rescale(self, node: fx.Node, value: Tensor) -> Tensor:
        """``m = (f(x) - f(x0)) / (x - x0)``."""
        (before, *rest), kwargs = self.fetch_args_kwargs_from_env(node)
        change = before.detach() - self.values[node.all_input_nodes[0]]
        at = before.detach().requires_grad_()
        operation: Any = node.target
        (derivative,) = torch.autograd.grad(operation(at, *rest, **kwargs).sum(), at)
        slope = (value.detach() - self.values[node]) / change
        found: Tensor = slope.where(change.abs() > _SAME, derivative) * before
        return found

    def _product(self, node: fx.Node, value: Tensor) -> Tensor:
        """``xy - x0 y0 = (x - x0) (y + y0) / 2 + (y - y0) (x + x0) / 2``."""
        if not all(isinstance(factor, fx.Node) for factor in node.args):
            return value
        (x, y), _ = self.fetch_args_kwargs_from_env(node)
        x0, y0 = (self.values[factor] for factor in node.args)  # type: ignore[index]
        found: Tensor = x * (y.detach() + y0) / 2 + y * (x.detach() + x0) / 2
        return found

    def _max_pool(self, node: fx.Node, value: Tensor) -> Tensor:
        """A rise of the maximum is assigned to its pixel, a fall to the reference's pixel.

        As in captum and DeepSHAP; here windows may overlap.
        """
        (before, *rest), _ = self.fetch_args_kwargs_from_env(node)
        before0, value0 = self.values[node.all_input_nodes[0]], self.values[node]
        change = (before.detach() - before0).flatten(2)
        most = torch.maximum(value.detach(), value0)
        shares = []
        for maps, part in ((before, most - value0), (before0, value.detach() - most)):
            _, at = torch.nn.functional.max_pool2d_with_indices(maps.detach(), *rest)
            at = at.expand_as(value).flatten(2)
            moved = change.gather(2, at)
            slope = (part.flatten(2) / moved).where(moved.abs() > _SAME, 0)
            shares.append(slope * before.flatten(2).gather(2, at))
        found: Tensor = shares[0] + shares[1]
        return found.view_as(value)

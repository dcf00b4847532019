"""Gradients on the captured graph, with another backward rule at every rectifier."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import Explained, Explainer, Needs, differentiable, target_gradients
from xai_sweep.graphs.capture import capture
from xai_sweep.graphs.folded import folded
from xai_sweep.graphs.rectifiers import Activations, activations
from xai_sweep.models.classifier import Classifier

Ruled: TypeAlias = Literal["rectifiers", "smooth"]


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

    def __init__(
        self,
        graph: fx.GraphModule,
        ruled: Mapping[fx.Node, fx.Node],
        receiver: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        super().__init__(graph)
        self.ruled, self.receiver = ruled, receiver
        self.inputs: dict[fx.Node, Any] = dict.fromkeys(ruled.values())

    @override
    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.ruled:
            before = self.inputs[self.ruled[n]]
            value = _Positive.apply(self.receiver(before, value), value.detach())
        if n in self.inputs:
            self.inputs[n] = value
        return value


@dataclass(frozen=True)
class RectifiedGradient(Explainer):
    """The gradient, with its negative parts dropped at every rectifier.

    Works on the captured graph: functional, in-place and re-used ReLUs count, ReLU6, and
    ``max(x, 0)`` as a clamp, a threshold, a maximum or a selection. The methods are defined for
    rectifiers alone. A network without any is refused, since its map would be the plain gradient.

    Attributes:
        activations: where the rule applies: ``rectifiers``, and other activations such as SiLU pass
            their gradient on; or ``smooth``, at every activation in the same way, which the paper
            does not define.
    """

    activations: Ruled = "rectifiers"

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
    def prepare(
        self, classifier: Classifier, images: Float[Tensor, "b c h w"]
    ) -> Mapping[str, Any]:
        """Count the activations.

        Returns:
            ``rectifiers`` and ``activations``, how many there are; ``warnings``, if the rule
            applies to some activations and not to others.

        Raises:
            InputError: the rule applies to none.
        """
        found = activations(capture(classifier, images).graph)
        self._ruled(found)
        count, total = len(found.rectifiers), len(found.rectifiers) + len(found.others)
        findings: dict[str, Any] = {"rectifiers": count, "activations": total}
        if self.activations == "rectifiers" and found.others:
            findings["warnings"] = [
                f"{count} of {total} activations are rectifiers, the others pass the plain "
                "gradient; explainer.activations=smooth applies the rule to all"
            ]
        return findings

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
        ruled = self._ruled(activations(graph))
        with differentiable(images) as pixels:
            logits = _Rectified(graph, ruled, self.receiver).run(pixels)
            return Explained(target_gradients(logits, pixels, targets).sum(dim=2))

    def _ruled(self, found: Activations) -> Mapping[fx.Node, fx.Node]:
        """The activations to which the rule applies, and their inputs.

        Raises:
            InputError: there is none.
        """
        if self.activations == "smooth" and (found.rectifiers or found.others):
            return {**found.rectifiers, **found.others}
        if found.rectifiers:
            return found.rectifiers
        count = len(found.others)
        if not count:
            allowed = (
                "the network has no activation, so that the map would be the plain gradient; "
                "choose explainer=saliency"
            )
        else:
            allowed = (
                f"none of {count} activations is a ReLU, so that the map would be the plain "
                "gradient; choose explainer=saliency, or smooth, for the rule at every activation"
            )
        raise InputError("explainer.activations", self.activations, allowed)

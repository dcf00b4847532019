"""What class activation maps are made of: the map of one layer, and gradients at it."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, fx
from typing_extensions import override

from xai_sweep.explainers.base import Explained, Explainer, target_gradients
from xai_sweep.graphs.capture import Captured, capture
from xai_sweep.graphs.folded import folded_at
from xai_sweep.models.classifier import Classifier


class FromActivation(fx.Interpreter):
    """Runs the graph, and starts differentiation at the output of one node.

    Attributes:
        activation: that output, after a run.
    """

    activation: Tensor

    def __init__(self, graph: fx.GraphModule, at: fx.Node) -> None:
        super().__init__(graph)
        self.at = at

    @override
    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n is self.at:
            # Detached: nothing before this node is differentiated, which is most of the network.
            value = self.activation = value.detach().requires_grad_()
        return value


def from_activation(
    captured: Captured, node: fx.Node, images: Float[Tensor, "b c h w"]
) -> FromActivation:
    """Runs the graph from a node that can be differentiated at; folded in single precision."""
    is_double = images.dtype == torch.float64
    return FromActivation(*((captured.graph, node) if is_double else folded_at(captured, node)))


@dataclass(frozen=True)
class GradientActivations(Explainer):
    """The maps of one layer, weighted by their gradients and enlarged bilinearly.

    Works on the captured graph: the default layer is found for any network, one forward pass serves
    all K targets, and the backward passes end at the layer.

    Attributes:
        layer: module path, e.g. ``features.29``; by default the last map with more than one pixel.
    """

    layer: str | None = None

    @abstractmethod
    def combined(
        self, maps: Float[Tensor, "b n i j"], gradients: Float[Tensor, "b k n i j"]
    ) -> Float[Tensor, "b k i j"]:
        """A small heatmap per target.

        Args:
            maps: of the layer.
            gradients: of each target's logit at the maps.
        """

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return 1.0  # backward passes end at the layer, near the top of the network

    @override
    def prepare(
        self, classifier: Classifier, images: Float[Tensor, "b c h w"]
    ) -> Mapping[str, Any]:
        capture(classifier, images).last_spatial(self.layer)
        return {}

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
        run = from_activation(captured, captured.last_spatial(self.layer), images)
        with torch.inference_mode(False), torch.enable_grad():
            logits = run.run(images.clone().detach())
            gradients = target_gradients(logits, run.activation, targets)
        return Explained(enlarged(self.combined(run.activation.detach(), gradients), images))


def enlarged(
    maps: Float[Tensor, "b k i j"], images: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b k h w"]:
    """Maps enlarged bilinearly to the size of the images."""
    size = (images.shape[-2], images.shape[-1])
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)

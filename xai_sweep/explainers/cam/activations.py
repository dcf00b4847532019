"""What class activation maps are made of: the map of one layer, and gradients at it."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, fx

from xai_sweep.explainers.base import Explain, Explainer, target_gradients
from xai_sweep.graphs.capture import Captured, capture
from xai_sweep.graphs.folded import folded_at
from xai_sweep.models.classifier import Classifier


class Split(fx.Interpreter):
    """Runs the graph, and starts differentiation at the output of one node."""

    activation: Tensor

    def __init__(self, graph: fx.GraphModule, at: fx.Node) -> None:
        super().__init__(graph)
        self.at = at

    def run_node(self, n: fx.Node) -> Any:
        """See `fx.Interpreter`."""
        value = super().run_node(n)
        if n is self.at:
            # Detached: nothing before this node is differentiated, which is most of the network.
            value = self.activation = value.detach().requires_grad_()
        return value


def split_at(captured: Captured, node: fx.Node, images: Float[Tensor, "b c h w"]) -> Split:
    """What runs the graph up to this node and beyond, with fewer operations in single precision."""
    is_double = images.dtype == torch.float64
    return Split(captured.graph, node) if is_double else Split(*folded_at(captured, node))


@dataclass(frozen=True)
class GradientActivations(Explainer):
    """The maps of one layer, weighted by what their gradients say, and enlarged bilinearly.

    Works on the captured graph: the default layer is found for any network, there is one forward
    pass for all K targets, and the backward passes end at the layer.

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

    def cost_in_forwards(self, targets: int = 1) -> float:
        """See `Explainer.cost_in_forwards`; backward passes end at the layer, at the top of it."""
        return 1.0

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            captured = capture(classifier, images)
            split = split_at(captured, captured.last_spatial(self.layer), images)
            with torch.inference_mode(False), torch.enable_grad():
                logits = split.run(images.clone().detach())
                gradients = target_gradients(logits, split.activation, targets)
            return enlarged(self.combined(split.activation.detach(), gradients), images)

        return explain


def enlarged(
    maps: Float[Tensor, "b k i j"], images: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b k h w"]:
    """Maps at the size of the images, bilinearly."""
    size = (images.shape[-2], images.shape[-1])
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)

"""What class activation maps are made of: the map of one layer, and gradients at it."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, fx

from xai_sweep.explainers.base import target_gradients
from xai_sweep.models.capture import Captured, capture
from xai_sweep.models.classifier import Classifier
from xai_sweep.models.folded import folded_at


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


def activation_and_gradients(
    classifier: Classifier,
    layer: str | None,
    images: Float[Tensor, "b c h w"],
    targets: Int64[Tensor, "b k"],
) -> tuple[Float[Tensor, "b n i j"], Float[Tensor, "b k n i j"]]:
    """The maps of a layer, see `Captured.last_spatial`, and the target logits' gradients at them.

    Raises:
        InputError: a target that is not a class of the network, or no such layer.
    """
    captured = capture(classifier, images)
    split = split_at(captured, captured.last_spatial(layer), images)
    with torch.inference_mode(False), torch.enable_grad():
        logits = split.run(images.clone().detach())
        gradients = target_gradients(logits, split.activation, targets)
    return split.activation.detach(), gradients


def enlarged(
    maps: Float[Tensor, "b k i j"], images: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b k h w"]:
    """Maps at the size of the images, bilinearly."""
    size = (images.shape[-2], images.shape[-1])
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)

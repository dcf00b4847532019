"""What class activation maps are made of: the map of one layer, and gradients at it."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, fx
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import Explained, Explainer, Needs, target_gradients
from xai_sweep.graphs.capture import Captured, capture
from xai_sweep.graphs.folded import folded_at
from xai_sweep.graphs.maps import LayerName, Map, find_map
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

    Works on the captured graph: maps are found in any order of axes, and among the tokens of a
    transformer, whose class token is left out. One forward pass serves all K targets, and the
    backward passes end at the layer.

    Attributes:
        layer: module path, e.g. ``features.29``, or a fraction of depth from 0 to 1; by default the
            last map with more than one pixel. See `xai_sweep.graphs.maps.find_map`.
    """

    layer: LayerName = None

    needs: ClassVar[Needs] = "graph"

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
        """Find the map, and see that the logits depend on it.

        Returns:
            ``layer``, the path of the map's module, and ``map``, its height and width.

        Raises:
            InputError: no map can be told, or no gradient arrives at it.
        """
        captured = capture(classifier, images)
        found = find_map(captured, self.layer)
        if not _arrives(captured, found, images):
            raise InputError(
                "explainer.layer",
                self.layer,
                f"no gradient of the logits arrives at {found.path or 'the last map'}, and every "
                "heatmap would be zero; name another module",
            )
        return {"layer": found.path, "map": list(found.layout.size)}

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
        found = find_map(captured, self.layer)
        run = from_activation(captured, found.node, images)
        with torch.inference_mode(False), torch.enable_grad():
            logits = run.run(images.clone().detach())
            of_values = target_gradients(logits, run.activation, targets)
        maps = found.layout.maps(run.activation.detach(), len(images))
        gradients = [found.layout.maps(each, len(images)) for each in of_values.unbind(1)]
        return Explained(enlarged(self.combined(maps, torch.stack(gradients, dim=1)), images))


def _arrives(captured: Captured, found: Map, images: Float[Tensor, "b c h w"]) -> bool:
    """Whether the map has a gradient, for images of noise and a random sum of the logits."""
    dice = torch.Generator().manual_seed(0)
    run = from_activation(captured, found.node, images)
    with torch.inference_mode(False), torch.enable_grad():
        logits = run.run(torch.randn(images.shape, generator=dice).to(images))
        total = (logits * torch.randn(logits.shape, generator=dice).to(logits)).sum()
        (gradient,) = torch.autograd.grad(total, run.activation)
    return bool(found.layout.maps(gradient, len(images)).any())


def enlarged(
    maps: Float[Tensor, "b k i j"], images: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b k h w"]:
    """Maps enlarged bilinearly to the size of the images."""
    size = (images.shape[-2], images.shape[-1])
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)

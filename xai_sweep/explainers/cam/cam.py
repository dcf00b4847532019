"""Class activation maps of networks that end in global average pooling and one linear layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import Explained, Explainer, Needs
from xai_sweep.explainers.cam.activations import enlarged, from_activation
from xai_sweep.graphs.capture import Captured, capture
from xai_sweep.graphs.layout import Layout
from xai_sweep.graphs.maps import Map, map_at
from xai_sweep.models.classifier import Classifier, check_targets

aten = torch.ops.aten

# These keep each channel's mean as it is.
_RESHAPES = frozenset(
    {
        aten.flatten.using_ints,
        aten.view.default,
        aten.reshape.default,
        aten.squeeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
        aten.dropout.default,
        aten.clone.default,
        aten.contiguous.default,
    }
)
_POOLS = frozenset({aten.adaptive_avg_pool2d.default, aten.avg_pool2d.default, aten.mean.dim})


@dataclass(frozen=True)
class Cam(Explainer):
    """The last maps, weighted by the last layer's weights of the target: ``sum_k w_k A_k``.

    Nothing is retrained, so it explains only networks that already end in global average pooling
    and one linear layer, such as ResNet, DenseNet, MobileNet and EfficientNet. For these it equals
    Grad-CAM's signed map times the number of pixels of the maps. Before it is enlarged, the map's
    mean is the target's logit minus the bias.

    Source: Zhou et al. 2016, "Learning deep features for discriminative localization", equation 2.
    """

    needs: ClassVar[Needs] = "graph"
    source: ClassVar[str] = "Zhou et al. 2016, arXiv:1512.04150"

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return 1.0

    @override
    def prepare(
        self, classifier: Classifier, images: Float[Tensor, "b c h w"]
    ) -> Mapping[str, Any]:
        _pooled_and_weight(capture(classifier, images))
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
        found, weight = _pooled_and_weight(captured)
        run = from_activation(captured, found.node, images)
        with torch.inference_mode(False), torch.no_grad():
            run.run(images.clone().detach())
            classes: Tensor = run.fetch_attr(str(weight.target))
            check_targets(targets, len(classes))
            maps = found.layout.maps(run.activation, len(images))
            heatmaps = torch.einsum("bkn,bnij->bkij", classes[targets], maps)
        return Explained(enlarged(heatmaps.detach(), images))


def _pooled_and_weight(captured: Captured) -> tuple[Map, fx.Node]:
    """The maps that are pooled, and the node of the last layer's weight.

    Raises:
        InputError: the network ends in something else.
    """
    chain = _last_operations(captured)
    linear, pool = chain[0], chain[-1]
    if linear.target is aten.linear.default and pool.target in _POOLS:
        maps, weight = pool.args[0], linear.args[1]
        assert isinstance(maps, fx.Node)
        found = map_at(captured, maps)
        if found is not None and _is_global(pool, found.layout):
            assert isinstance(weight, fx.Node)
            return found, weight
    ends = ", ".join(_named(captured, node) for node in reversed(chain))
    raise InputError(
        "explainer",
        "cam",
        "needs a network that ends in global average pooling and one linear layer; this one ends "
        f"in {ends}; grad_cam explains it",
    )


def _is_global(pool: fx.Node, layout: Layout) -> bool:
    """Whether a pooling takes the mean of all pixels of the maps, and of nothing else."""
    maps: Any = pool.args[0]
    shape = maps.meta["val"].shape
    axes: Any = pool.args[1] if pool.target is aten.mean.dim else (-2, -1)
    # Axes of length 1 count as channels, and may be pooled as well.
    pooled = {axis % len(shape) for axis in axes if shape[axis] != 1}
    if layout.others or pooled != {*layout.pixels}:
        return False
    to_one_pixel = ([1, 1], [*layout.size])
    return pool.target is aten.mean.dim or (
        pool.meta["val"].shape[-2:] == (1, 1) and pool.args[1] in to_one_pixel
    )


def _last_operations(captured: Captured) -> list[fx.Node]:
    """Backwards from the output to the first operation that is neither linear nor a reshape."""
    output = next(node for node in captured.graph.graph.nodes if node.op == "output")
    node = output.all_input_nodes[0]
    chain = [node]
    while node.target in _RESHAPES or (node.target is aten.linear.default and len(chain) == 1):
        node = node.all_input_nodes[0]
        chain.append(node)
        if node.op != "call_function":
            break
    return chain


def _named(captured: Captured, node: fx.Node) -> str:
    name = str(node.target).split(".")[1] if node.op == "call_function" else str(node.name)
    path = captured.paths.get(node, "")
    return f"{name} ({path})" if path else name

"""Class activation maps of networks that end in global average pooling and one linear layer."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import Explain, Explainer
from xai_sweep.explainers.cam.activations import enlarged, split_at
from xai_sweep.graphs.capture import Captured, capture
from xai_sweep.models.classifier import Classifier, check_targets

aten = torch.ops.aten

# They hand on each channel's mean as it is.
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

    Nothing is retrained, so it explains only what already ends in global average pooling and one
    linear layer, as ResNet, DenseNet, MobileNet and EfficientNet do. There it is Grad-CAM's signed
    map times the number of pixels of the maps. The mean of the map before it is enlarged,
    bilinearly, to the image is the target's logit less the bias.

    Source: Zhou et al. 2016, "Learning deep features for discriminative localization", equation 2.
    """

    source: ClassVar[str] = "Zhou et al. 2016, arXiv:1512.04150"

    def cost_in_forwards(self, targets: int = 1) -> float:
        """See `Explainer.cost_in_forwards`."""
        return 1.0

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            captured = capture(classifier, images)
            maps, weight = _pooled_and_weight(captured)
            split = split_at(captured, maps, images)
            with torch.inference_mode(False), torch.no_grad():
                split.run(images.clone().detach())
                classes: Tensor = split.fetch_attr(str(weight.target))
                check_targets(targets, len(classes))
                heatmaps = torch.einsum("bkn,bnij->bkij", classes[targets], split.activation)
            return enlarged(heatmaps.detach(), images)

        return explain


def _pooled_and_weight(captured: Captured) -> tuple[fx.Node, fx.Node]:
    """The node of the maps that are pooled, and that of the last layer's weight.

    Raises:
        InputError: the network ends in something else.
    """
    chain = _last_operations(captured)
    linear, pool = chain[0], chain[-1]
    if linear.target is aten.linear.default and pool.target in _POOLS:
        maps, weight = pool.args[0], linear.args[1]
        assert isinstance(maps, fx.Node)
        if _is_global(captured, pool) and maps in captured.shapes:
            assert isinstance(weight, fx.Node)
            return maps, weight
    ends = ", ".join(_named(captured, node) for node in reversed(chain))
    raise InputError(
        "explainer",
        "cam",
        "needs a network that ends in global average pooling and one linear layer; this one ends "
        f"in {ends}; grad_cam explains it",
    )


def _is_global(captured: Captured, pool: fx.Node) -> bool:
    if pool.target is aten.mean.dim:
        axes = pool.args[1]
        assert isinstance(axes, list | tuple)
        return sorted(int(str(axis)) % 4 for axis in axes) == [2, 3]
    return captured.shapes[pool] == (1, 1)


def _last_operations(captured: Captured) -> list[fx.Node]:
    """From the output backwards to the first operation that is neither linear nor a reshape."""
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

"""A graph for oneDNN: weights in its own layout, rectifiers fused into the convolutions."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx
from torch.fx.passes.shape_prop import ShapeProp

from xai_sweep.graphs.folded import constants, sharing_weights

aten = torch.ops.aten
# The operations that `torch.compile` uses for convolutions on a CPU; they have no public names.
_OPERATIONS = (
    "_convolution_pointwise",
    "_reorder_convolution_weight",
    "_is_mkldnn_bf16_supported",
)


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build and this CPU can compute packed convolutions in this precision."""
    if not (torch._C._has_mkldnn and torch.backends.mkldnn.enabled):
        return False
    if not all(hasattr(torch.ops.mkldnn, name) for name in _OPERATIONS):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def packed(
    graph: fx.GraphModule, images: Float[Tensor, "b c h w"], dtype: torch.dtype
) -> fx.GraphModule:
    """A copy of a graph that can only run forward, on a CPU.

    The logits are the same up to rounding, whatever the size of the batch.

    Args:
        graph: in single precision.
        images: of the shape that the graph will be called with.
        dtype: the precision of convolutions, see `can_pack`; that of other operations is left to
            autocast.
    """
    graph = sharing_weights(graph)
    ShapeProp(graph).propagate(images)
    for number, node in enumerate([*graph.graph.nodes]):
        if node.target is aten.conv2d.default:
            _pack(graph, node, f"packed_{number}", dtype)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _pack(graph: fx.GraphModule, node: fx.Node, name: str, dtype: torch.dtype) -> None:
    """Replace a convolution, and the rectifier that alone reads it, by a packed one."""
    defaults: list[Any] = [None, None, None, [1, 1], [0, 0], [1, 1], 1]
    given: list[Any] = [*node.args, *defaults[len(node.args) :]]
    pixels, weight, bias, *geometry, groups = given
    own = constants(graph, [weight, bias])
    if own is None or own[0] is None:
        return
    stride, padding, dilation = geometry
    shape = [*pixels.meta["tensor_meta"].shape]
    kernel = own[0].detach().to(dtype)
    kernel = torch.ops.mkldnn._reorder_convolution_weight(
        kernel, padding, stride, dilation, groups, shape
    )
    graph.register_buffer(f"{name}_weight", kernel)
    last, after, parameters = _rectifier(node)
    with graph.graph.inserting_before(node):
        if own[1] is not None:
            graph.register_buffer(f"{name}_bias", own[1].detach().to(dtype))
            bias = graph.graph.get_attr(f"{name}_bias")
        cast = graph.graph.call_function(aten.to.dtype, (pixels, dtype))
        made = graph.graph.call_function(
            torch.ops.mkldnn._convolution_pointwise.default,
            (
                *(cast, graph.graph.get_attr(f"{name}_weight"), bias),
                *(padding, stride, dilation, groups, after, parameters, ""),
            ),
        )
    made.meta = dict(last.meta)
    last.replace_all_uses_with(made)
    for replaced in dict.fromkeys((last, node)):  # in-place operations are never dead code
        graph.graph.erase_node(replaced)


def _rectifier(node: fx.Node) -> tuple[fx.Node, str, list[float]]:
    """The rectifier that alone reads this node, with oneDNN's name for it; or the node itself."""
    user: Any
    user, *others = node.users
    if others or user.args[0] is not node:
        return node, "none", []
    match user.target:
        case aten.relu.default | aten.relu_.default:
            return user, "relu", []
        case aten.relu6.default | aten.relu6_.default:
            return user, "hardtanh", [0.0, 6.0]
        case aten.hardtanh.default | aten.hardtanh_.default:
            bounds = [*user.args[1:], *(-1, 1)[len(user.args) - 1 :]]
            return user, "hardtanh", [float(bound) for bound in bounds]
        case aten.silu.default | aten.silu_.default:
            return user, "swish", []
    return node, "none", []

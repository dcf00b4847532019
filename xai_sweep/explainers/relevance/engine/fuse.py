"""A layer of the graph, with batchnorm, zero padding and activation fused into it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine import operations as known
from xai_sweep.explainers.relevance.engine.flow import Flow
from xai_sweep.explainers.relevance.engine.layers import Affine, Conv, Linear, Scale

WEIGHTED = (known.CONV, known.CONV_PADDING, known.LINEAR)
_OPS: Mapping[type[Affine], str] = {Conv: "conv", Linear: "linear", Scale: "batchnorm"}


@dataclass(eq=False)
class Fused:
    """A layer and the nodes that were fused into it.

    Attributes:
        layer: with what was fused into it.
        node: the layer's own node, which gives it its path.
        start: the node that it reads.
        end: the node whose value it computes.
        activation: the activation that was fused, the same node as ``end``; or None.
        batchnorm: how a batchnorm was fused, as `xai-sweep preflight` prints it.
        members: all its nodes.
    """

    layer: Affine
    node: fx.Node
    start: fx.Node
    end: fx.Node
    activation: fx.Node | None = None
    batchnorm: str = ""
    members: set[fx.Node] = field(default_factory=set)

    @property
    def op(self) -> str:
        """The layer's kind in a list of rules."""
        return _OPS[type(self.layer)]


def fused(flow: Flow, node: fx.Node, fuse_batchnorm: bool) -> Fused:
    """The layer that begins at this node: a convolution, a linear layer or a batchnorm.

    Args:
        flow: the graph.
        node: its first node.
        fuse_batchnorm: whether batchnorm is fused; otherwise it is a layer of its own.

    Raises:
        InputError: a batchnorm in training mode, or weights that depend on the image.
    """
    found = Fused(affine(flow, node), node, node.all_input_nodes[0], node, members={node})
    follower = flow.only_user(node)
    if fuse_batchnorm and follower is not None and follower in flow.receivers:
        if node.target is known.BATCHNORM and follower.target in WEIGHTED:
            _fuse_into_next(flow, found, follower)
            follower = flow.only_user(found.end)
        if found.node.target in WEIGHTED and follower and follower.target is known.BATCHNORM:
            norm = affine(flow, follower)
            assert norm.bias is not None
            found.layer = found.layer.with_output_scaled(norm.weight, norm.bias)
            found.batchnorm = "fused" if not found.batchnorm else "both fused"
            _extend(found, follower)
    _fuse_padding(flow, found)
    follower = flow.only_user(found.end)
    if (
        follower is not None
        and follower.target in known.ACTIVATIONS
        and follower in flow.receivers
        and len(follower.all_input_nodes) == 1  # a PReLU's slopes are a node too
    ):
        found.activation = follower
        _extend(found, follower)
    return found


def _extend(found: Fused, node: fx.Node) -> None:
    found.end = node
    found.members.add(node)


def _fuse_into_next(flow: Flow, found: Fused, follower: fx.Node) -> None:
    """Fuse a batchnorm into the layer behind it, where that is exact."""
    norm, layer = found.layer, affine(flow, follower)
    assert norm.bias is not None
    both = (
        layer.with_input_scaled(norm.weight, norm.bias) if follower.args[0] is found.node else None
    )
    if both is not None:
        found.layer, found.node = both, follower
        found.batchnorm = "fused from before"
        _extend(found, follower)


def _fuse_padding(flow: Flow, found: Fused) -> None:
    """Fuse zero padding into the convolution behind it, or relevance would go to the padding."""
    pad = found.start
    is_outer = (
        pad.target in known.PADS and known.pads_zeros(pad) and flow.only_user(pad) is not None
    )
    if isinstance(found.layer, Conv) and is_outer and pad in flow.receivers:
        widths: Any = pad.args[1]
        if len(widths) == 4 and min(widths) >= 0:
            found.layer = replace(found.layer, outer_padding=tuple(widths))
            found.start = pad.all_input_nodes[0]
            found.members.add(pad)


def affine(flow: Flow, node: fx.Node) -> Affine:
    """The node's layer, with nothing fused.

    Raises:
        InputError: as `fused`.
    """
    args: list[Any] = [
        flow.constants.get(arg, arg) if isinstance(arg, fx.Node) else arg for arg in node.args
    ]
    if any(isinstance(arg, fx.Node) for arg in args[1:]):
        raise flow.unsupported(node, "its weights depend on the image")
    if node.target is known.BATCHNORM:
        return _scale(flow, node, args)
    defaults: list[Any] = [None, None, None, (1, 1), (0, 0), (1, 1), 1]
    weight, bias, stride, padding, dilation, groups = (args + defaults[len(args) :])[1:]
    if node.target is known.LINEAR:
        return Linear(weight, bias)
    if isinstance(padding, str):
        padding = _named_padding(flow, node, padding, weight, dilation)
    stride, padding, dilation = (
        tuple(pair) * (2 // len(pair)) for pair in (stride, padding, dilation)
    )
    if weight.dtype != torch.float64:
        # The fastest layout for a convolution and its transposed, on a CPU and on a GPU.
        weight = weight.contiguous(memory_format=torch.channels_last)
    return Conv(weight, bias, stride, padding, dilation, groups)


def _named_padding(
    flow: Flow, node: fx.Node, padding: str, weight: torch.Tensor, dilation: Sequence[int]
) -> list[int]:
    reach = [dilation[axis % len(dilation)] * (weight.shape[axis + 2] - 1) for axis in (0, 1)]
    if padding == "valid":
        return [0, 0]
    if any(length % 2 for length in reach):
        raise flow.unsupported(node, "its padding is not symmetric")
    return [length // 2 for length in reach]


def _scale(flow: Flow, node: fx.Node, args: Sequence[Any]) -> Scale:
    _, weight, bias, mean, variance, training, _, eps, *_ = args
    if training or mean is None or variance is None:
        raise InputError(
            "model",
            flow.paths.get(node) or "batchnorm",
            "must have running statistics and be in evaluation mode: this batchnorm would mix the "
            "images of a batch",
        )
    # In double precision, so that the result is rounded once.
    factor = (variance.double() + eps).rsqrt()
    factor = factor if weight is None else factor * weight.double()
    shift = -mean.double() * factor
    shift = shift if bias is None else shift + bias.double()
    return Scale(factor.to(mean.dtype), shift.to(mean.dtype))

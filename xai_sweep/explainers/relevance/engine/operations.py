"""How relevance passes each ATen operation: the table from which a network's plan is made."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

aten = torch.ops.aten

CONV = aten.conv2d.default
CONV_PADDING = aten.conv2d.padding
LINEAR = aten.linear.default
BATCHNORM = aten.batch_norm.default
LAYER_NORM = aten.layer_norm.default
MAX_POOL = aten.max_pool2d.default
CONCATENATE = aten.cat.default
STACK = aten.stack.default
PADS: frozenset[Any] = frozenset({aten.pad.default, aten.constant_pad_nd.default})
# The signs of both terms, and which of them is multiplied by alpha.
ADDS: Mapping[Any, tuple[tuple[int, int], tuple[bool, bool]]] = {
    aten.add.Tensor: ((1, 1), (False, True)),
    aten.sub.Tensor: ((1, -1), (False, True)),
    aten.rsub.Tensor: ((-1, 1), (True, False)),
    aten.rsub.Scalar: ((-1, 1), (True, False)),
}
PRODUCTS: frozenset[Any] = frozenset({aten.mul.Tensor, aten.mul.Scalar})
QUOTIENTS: frozenset[Any] = frozenset({aten.div.Tensor, aten.div.Scalar})
NEGATION = aten.neg.default

# Element-wise functions, which pass relevance on.
ACTIVATIONS: frozenset[Any] = frozenset(
    {
        aten.relu.default,
        aten.relu6.default,
        aten.hardtanh.default,
        aten.leaky_relu.default,
        aten.prelu.default,
        aten.elu.default,
        aten.selu.default,
        aten.celu.default,
        aten.gelu.default,
        aten.silu.default,
        aten.mish.default,
        aten.hardswish.default,
        aten.tanh.default,
        aten.softplus.default,
        aten.sigmoid.default,
        aten.hardsigmoid.default,
        aten.clamp.default,
        aten.clamp_min.default,
        aten.clamp_max.default,
        aten.threshold.default,
        aten.softshrink.default,
        aten.hardshrink.default,
        aten.log_sigmoid.default,
        aten.erf.default,
        aten.atan.default,
        aten.sin.default,
        aten.cos.default,
        aten.abs.default,
        aten.square.default,
        aten.pow.Tensor_Scalar,
        aten.sqrt.default,
        aten.exp.default,
        aten.expm1.default,
        aten.log.default,
        aten.log1p.default,
    }
)
# Those of them that do not map 0 to 0.
SHIFTED: frozenset[Any] = frozenset(
    {
        aten.softplus.default,
        aten.sigmoid.default,
        aten.hardsigmoid.default,
        aten.log_sigmoid.default,
        aten.threshold.default,
        aten.cos.default,
        aten.exp.default,
        aten.log.default,
        aten.pow.Tensor_Scalar,
    }
)
# A factor that one of these computes is a gate: it decides how much of the other passes.
GATES: frozenset[Any] = frozenset(
    {aten.sigmoid.default, aten.hardsigmoid.default, aten.softmax.int, aten.tanh.default}
)


def transposed(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The transposed of a linear operation: the gradient, which is the same everywhere."""

    def back(c: Tensor, shape: torch.Size, *args: Any, **kwargs: Any) -> Tensor:
        with torch.enable_grad():
            at = c.new_zeros(shape).requires_grad_()
            return torch.autograd.grad(operation(at, *args, **kwargs), at, c)[0]

    return back


def _same(c: Tensor, _shape: torch.Size, *_args: Any, **_kwargs: Any) -> Tensor:
    return c


def _reshape(c: Tensor, shape: torch.Size, *_args: Any) -> Tensor:
    return c.reshape(shape)


def _transpose(c: Tensor, _shape: torch.Size, first: int, second: int) -> Tensor:
    return c.transpose(first, second)


def _permute(c: Tensor, _shape: torch.Size, dims: list[int]) -> Tensor:
    order = [dim % c.dim() for dim in dims]
    return c.permute([order.index(dim) for dim in range(c.dim())])


def _slice(
    c: Tensor, shape: torch.Size, dim: int = 0, start: Any = None, stop: Any = None, step: int = 1
) -> Tensor:
    whole = c.new_zeros(shape)
    chosen = [slice(None)] * len(shape)
    chosen[dim] = slice(start, stop, step)
    whole[tuple(chosen)] = c
    return whole


def _narrow(c: Tensor, shape: torch.Size, dim: int, start: int, length: int) -> Tensor:
    return _slice(c, shape, dim, start, start + length)


def _select(c: Tensor, shape: torch.Size, dim: int, index: int) -> Tensor:
    whole = c.new_zeros(shape)
    whole.select(dim, index).copy_(c)
    return whole


def _index_select(c: Tensor, shape: torch.Size, dim: int, index: Tensor) -> Tensor:
    return c.new_zeros(shape).index_add_(dim, index, c)


def _index(c: Tensor, shape: torch.Size, indices: list[Tensor | None]) -> Tensor:
    whole: Tensor = aten.index_put_(c.new_zeros(shape), indices, c, True)
    return whole


def _gather(c: Tensor, shape: torch.Size, dim: int, index: Tensor) -> Tensor:
    return c.new_zeros(shape).scatter_add_(dim, index, c)


def _unpad(c: Tensor, _shape: torch.Size, pad: list[int], *_args: Any) -> Tensor:
    return F.pad(c, [-width for width in pad])


def _expand(c: Tensor, shape: torch.Size, *_args: Any, **_kwargs: Any) -> Tensor:
    return c.sum_to_size(shape)


# Every output is one input: the transposed operation, from a message and the input's shape.
MOVES: Mapping[Any, Callable[..., Tensor]] = {
    aten.flatten.using_ints: _reshape,
    aten.view.default: _reshape,
    aten.reshape.default: _reshape,
    aten._unsafe_view.default: _reshape,
    aten.squeeze.default: _reshape,
    aten.squeeze.dim: _reshape,
    aten.squeeze.dims: _reshape,
    aten.unsqueeze.default: _reshape,
    aten.contiguous.default: _same,
    aten.clone.default: _same,
    aten.alias.default: _same,
    aten.detach.default: _same,
    aten.dropout.default: _same,
    aten.feature_dropout.default: _same,
    aten.permute.default: _permute,
    aten.transpose.int: _transpose,
    aten.slice.Tensor: _slice,
    aten.narrow.default: _narrow,
    aten.select.int: _select,
    aten.index_select.default: _index_select,
    aten.index.Tensor: _index,
    aten.gather.default: _gather,
    aten.pad.default: _unpad,
    aten.constant_pad_nd.default: _unpad,
    aten.expand.default: _expand,
    aten.expand_as.default: _expand,
    aten.view_as.default: _reshape,
    aten.reshape_as.default: _reshape,
    aten.unflatten.int: _reshape,
    aten._to_copy.default: _same,
    aten.to.dtype: _same,
    aten.to.device: _same,
    aten.to.dtype_layout: _same,
    aten.type_as.default: _same,
    aten.swapaxes.default: _transpose,
    aten.numpy_T.default: transposed(aten.numpy_T.default),
    aten.mT.default: transposed(aten.mT.default),
    aten.movedim.int: transposed(aten.movedim.int),
    aten.movedim.intlist: transposed(aten.movedim.intlist),
    aten.roll.default: transposed(aten.roll.default),
    aten.flip.default: transposed(aten.flip.default),
    aten.rot90.default: transposed(aten.rot90.default),
    aten.repeat.default: transposed(aten.repeat.default),
    aten.tile.default: transposed(aten.tile.default),
    aten.repeat_interleave.self_int: transposed(aten.repeat_interleave.self_int),
    aten.broadcast_to.default: _expand,
    aten.unfold.default: transposed(aten.unfold.default),
    aten.im2col.default: transposed(aten.im2col.default),
    aten.pixel_shuffle.default: transposed(aten.pixel_shuffle.default),
    aten.pixel_unshuffle.default: transposed(aten.pixel_unshuffle.default),
    aten.channel_shuffle.default: transposed(aten.channel_shuffle.default),
    aten.native_channel_shuffle.default: transposed(aten.native_channel_shuffle.default),
    aten.diagonal.default: transposed(aten.diagonal.default),
    aten.tril.default: transposed(aten.tril.default),
    aten.triu.default: transposed(aten.triu.default),
}
# Paddings that repeat the image, and so give relevance back to the pixels that they repeat.
REPEATED: Callable[..., Tensor] = transposed(aten.pad.default)


def shape_only(like: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor of which only the shape is read; its memory is never touched."""
    channels_last = len(shape) == 4 and like.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device, memory_format=layout)


def _mean(
    c: Tensor, shape: torch.Size, dims: Any = None, keepdim: bool = False, **_kwargs: Any
) -> Tensor:
    spread = _sum(c, shape, dims, keepdim)
    return spread / (spread.numel() / c.numel())


def _sum(
    c: Tensor, shape: torch.Size, dims: Any = None, keepdim: bool = False, **_kwargs: Any
) -> Tensor:
    reduced = range(len(shape)) if not dims else [dim % len(shape) for dim in dims]
    kept = [1 if dim in reduced else length for dim, length in enumerate(shape)]
    return c.reshape(kept).expand(shape)


def _average(
    c: Tensor,
    shape: torch.Size,
    kernel: list[int],
    stride: Any = (),
    padding: Any = 0,
    ceil: bool = False,
    count_padding: bool = True,
    divisor: Any = None,
) -> Tensor:
    padding = [padding, padding] if isinstance(padding, int) else padding
    like = shape_only(c, shape)
    pooled: Tensor = aten.avg_pool2d_backward(
        c, like, kernel, stride or kernel, padding, ceil, count_padding, divisor
    )
    return pooled


def _adaptive(c: Tensor, shape: torch.Size, size: list[int]) -> Tensor:
    if c.shape[-2:] == (1, 1):
        return c.expand(shape) / (shape[-2] * shape[-1])
    if c.shape == shape:
        return c
    pooled: Tensor = aten._adaptive_avg_pool2d_backward(c, shape_only(c, shape))
    return pooled


def _nearest(c: Tensor, shape: torch.Size, _size: Any, scales: Any = None) -> Tensor:
    enlarged: Tensor = aten.upsample_nearest2d_backward(
        c, c.shape[-2:], shape, *(scales or (None, None))
    )
    return enlarged


def _bilinear(
    c: Tensor, shape: torch.Size, _size: Any, align_corners: bool, scales: Any = None
) -> Tensor:
    enlarged: Tensor = aten.upsample_bilinear2d_backward(
        c, c.shape[-2:], shape, align_corners, *(scales or (None, None))
    )
    return enlarged


# Linear with fixed weights of at least zero: its name in a list of rules, and its transposed.
SUMS: Mapping[Any, tuple[str, Callable[..., Tensor]]] = {
    aten.mean.dim: ("pool", _mean),
    aten.sum.dim_IntList: ("pool", _sum),
    aten.sum.default: ("pool", transposed(aten.sum.default)),
    aten.mean.default: ("pool", transposed(aten.mean.default)),
    aten.avg_pool1d.default: ("pool", transposed(aten.avg_pool1d.default)),
    aten.avg_pool3d.default: ("pool", transposed(aten.avg_pool3d.default)),
    aten.adaptive_avg_pool1d.default: ("pool", transposed(aten.adaptive_avg_pool1d.default)),
    aten.adaptive_avg_pool3d.default: ("pool", transposed(aten.adaptive_avg_pool3d.default)),
    aten.avg_pool2d.default: ("pool", _average),
    aten.adaptive_avg_pool2d.default: ("pool", _adaptive),
    aten.upsample_nearest2d.vec: ("upsample", _nearest),
    aten.upsample_bilinear2d.vec: ("upsample", _bilinear),
    aten.upsample_nearest1d.vec: ("upsample", transposed(aten.upsample_nearest1d.vec)),
    aten.upsample_linear1d.vec: ("upsample", transposed(aten.upsample_linear1d.vec)),
    aten._upsample_nearest_exact2d.vec: (
        "upsample",
        transposed(aten._upsample_nearest_exact2d.vec),
    ),
}

# Each result is one of the inputs, found by its index along a dimension; None: in the plane.
WINNERS: Mapping[Any, str | None] = {
    (aten.max.dim, 0): "dim",
    (aten.min.dim, 0): "dim",
    (aten.topk.default, 0): "dim",
    (aten.sort.default, 0): "dim",
    (aten.adaptive_max_pool2d.default, 0): None,
    (aten.max_pool2d_with_indices.default, 0): None,
}
# The result is the largest or smallest along some dimensions; those that are equal share.
EXTREMES: frozenset[Any] = frozenset({aten.amax.default, aten.amin.default})
# The result is the larger or the smaller of two.
LARGER: frozenset[Any] = frozenset({aten.maximum.default, aten.max.other})
SMALLER: frozenset[Any] = frozenset({aten.minimum.default, aten.min.other})
# Linear in every one of their factors.
MULTILINEAR: frozenset[Any] = frozenset(
    {aten.einsum.default, aten.matmul.default, aten.bmm.default, aten.mm.default}
)
# Linear in their first argument, some with weights below zero.
LINEAR_MAPS: frozenset[Any] = frozenset(
    {
        aten.upsample_bicubic2d.vec,
        aten.col2im.default,
        aten.cumsum.default,
        aten.grid_sampler.default,
        aten.fft_rfft2.default,
        aten.fft_irfft2.default,
    }
)
# ``f(t x) = t^n f(x)`` for t > 0, so that input times gradient is n times the value (Euler).
HOMOGENEOUS: Mapping[Any, int] = {
    aten.linalg_vector_norm.default: 1,
    aten.norm.ScalarOpt_dim: 1,
    aten.std.dim: 1,
    aten.std.correction: 1,
    aten.var.dim: 2,
    aten.var.correction: 2,
}
# What is weighed, divided or attended to; weights, divisors and attention that depend on the image
# count as constant, as gates do. Source for attention: Ali et al. 2022, arXiv:2202.07304, eq. 7.
ATTENTION = aten.scaled_dot_product_attention.default
MEASURED: Mapping[Any, int] = {
    ATTENTION: 2,
    **dict.fromkeys((CONV, CONV_PADDING, LINEAR, BATCHNORM, *QUOTIENTS), 0),
}
GROUP_NORM = aten.group_norm.default
INSTANCE_NORM = aten.instance_norm.default
RMS_NORM = aten.rms_norm.default
NORMS: frozenset[Any] = frozenset({LAYER_NORM, GROUP_NORM, INSTANCE_NORM, RMS_NORM})


def operation(node: fx.Node) -> Any:
    """What the node computes: its target, or for one of several results, target and number."""
    return (whole(node).target, node.args[1]) if whole(node) is not node else node.target


def whole(node: fx.Node) -> fx.Node:
    """The node itself; for one of several results of an operation, that operation."""
    parent = node.args[0] if node.target is operator.getitem else node
    return parent if isinstance(parent, fx.Node) else node


def arguments(node: fx.Node) -> dict[str, Any]:
    """An operation's arguments by name, in order, those that were left out by their defaults."""
    node = whole(node)
    declared = node.target._schema.arguments  # type: ignore[union-attr]
    given = dict(zip([each.name for each in declared], node.args, strict=False)) | node.kwargs
    return {each.name: given.get(each.name, each.default_value) for each in declared}


def pads_constant(node: fx.Node) -> bool:
    """Whether a padding adds a constant, and does not repeat the image."""
    return bool(arguments(node).get("mode", "constant") == "constant")


def pads_zeros(node: fx.Node) -> bool:
    """Whether a padding adds only zeros."""
    return pads_constant(node) and arguments(node)["value"] in (None, 0)

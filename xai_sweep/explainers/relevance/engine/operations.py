"""How relevance passes each ATen operation: the table from which a network's plan is made."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten

CONV = aten.conv2d.default
CONV_PADDING = aten.conv2d.padding
LINEAR = aten.linear.default
BATCHNORM = aten.batch_norm.default
LAYER_NORM = aten.layer_norm.default
MAX_POOL = aten.max_pool2d.default
CONCATENATE = aten.cat.default
GETITEM = operator.getitem
CHUNKS: frozenset[Any] = frozenset(
    {aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default, aten.split.sizes}
)
PADS: frozenset[Any] = frozenset({aten.pad.default, aten.constant_pad_nd.default})
ADDS: Mapping[Any, int] = {aten.add.Tensor: 1, aten.sub.Tensor: -1}
PRODUCTS: frozenset[Any] = frozenset({aten.mul.Tensor, aten.mul.Scalar})
QUOTIENTS: frozenset[Any] = frozenset({aten.div.Tensor, aten.div.Scalar})
NEGATION = aten.neg.default

# Element-wise functions, which pass relevance on; true where the result is never negative.
ACTIVATIONS: Mapping[Any, bool] = {
    aten.relu.default: True,
    aten.relu6.default: True,
    aten.hardtanh.default: False,  # except for a lower bound of 0
    aten.leaky_relu.default: False,
    aten.prelu.default: False,
    aten.elu.default: False,
    aten.selu.default: False,
    aten.celu.default: False,
    aten.gelu.default: False,
    aten.silu.default: False,
    aten.mish.default: False,
    aten.hardswish.default: False,
    aten.tanh.default: False,
    aten.softplus.default: True,
    aten.sigmoid.default: True,
    aten.hardsigmoid.default: True,
}
RELUS: frozenset[Any] = frozenset({aten.relu.default, aten.relu6.default, aten.hardtanh.default})
# A factor that one of these computes is a gate: it decides how much of the other passes.
GATES: frozenset[Any] = frozenset(
    {aten.sigmoid.default, aten.hardsigmoid.default, aten.softmax.int, aten.tanh.default}
)


def _same(c: Tensor, shape: torch.Size, *_args: Any, **_kwargs: Any) -> Tensor:
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
    aten.pad.default: _unpad,
    aten.constant_pad_nd.default: _unpad,
    aten.expand.default: _expand,
}


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
    aten.avg_pool2d.default: ("pool", _average),
    aten.adaptive_avg_pool2d.default: ("pool", _adaptive),
    aten.upsample_nearest2d.vec: ("upsample", _nearest),
    aten.upsample_bilinear2d.vec: ("upsample", _bilinear),
}

# The result is never negative if no input is.
KEEPS_SIGN: frozenset[Any] = frozenset(
    {*MOVES, *SUMS, *CHUNKS, CONCATENATE, MAX_POOL, GETITEM} - {*PADS}
)

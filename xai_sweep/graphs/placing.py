"""The places of every value in a captured graph: what each kind of operation does to them."""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from xai_sweep.graphs.capture import Captured
from xai_sweep.graphs.places import Places, joined, nowhere, regridded, same, together, whole

aten = torch.ops.aten

Shape: TypeAlias = tuple[int, ...]

# Every element of the result is one element of the first argument, or of the parts of a list.
MOVES: frozenset[Any] = frozenset(
    {
        aten.alias.default,
        aten.cat.default,
        aten.channel_shuffle.default,
        aten.chunk.default,
        aten.expand.default,
        aten.flatten.using_ints,
        aten.flip.default,
        aten.im2col.default,
        aten.index.Tensor,
        aten.index_select.default,
        aten.movedim.int,
        aten.movedim.intlist,
        aten.narrow.default,
        aten.permute.default,
        aten.pixel_shuffle.default,
        aten.pixel_unshuffle.default,
        aten.repeat.default,
        aten.reshape.default,
        aten.roll.default,
        aten.rot90.default,
        aten.select.int,
        aten.slice.Tensor,
        aten.split.Tensor,
        aten.split.sizes,
        aten.split_with_sizes.default,
        aten.squeeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
        aten.stack.default,
        aten.swapaxes.default,
        aten.t.default,
        aten.tensor_split.sections,
        aten.tile.default,
        aten.transpose.int,
        aten.unbind.int,
        aten.unflatten.int,
        aten.unfold.default,
        aten.unsqueeze.default,
    }
)
_JOINS: frozenset[Any] = frozenset({aten.cat.default, aten.stack.default})
# These insist on memory in order, which places are not in.
_RESHAPES: frozenset[Any] = frozenset(
    {
        aten.view.default,
        aten._unsafe_view.default,
        aten.reshape_as.default,
        aten.view_as.default,
    }
)
_PADS: frozenset[Any] = frozenset(
    {
        aten.pad.default,
        aten.constant_pad_nd.default,
        aten.reflection_pad2d.default,
        aten.replication_pad2d.default,
    }
)
# Element by element, although not tagged so; and normalisations, which only scale elements.
_IN_PLACE: frozenset[Any] = frozenset(
    {
        aten.batch_norm.default,
        aten.clone.default,
        aten.contiguous.default,
        aten.detach.default,
        aten.dropout.default,
        aten.feature_dropout.default,
        aten.group_norm.default,
        aten.hardswish.default,
        aten.instance_norm.default,
        aten.layer_norm.default,
        aten.log_softmax.int,
        aten.prelu.default,
        aten.rms_norm.default,
        aten.rsub.Tensor,
        aten.softmax.int,
        aten.to.device,
        aten.to.dtype,
        aten.to.other,
        aten.type_as.default,
    }
)
_REDUCTIONS: frozenset[Any] = frozenset(
    {
        aten.amax.default,
        aten.amin.default,
        aten.linalg_vector_norm.default,
        aten.logsumexp.default,
        aten.max.dim,
        aten.mean.dim,
        aten.min.dim,
        aten.norm.ScalarOpt_dim,
        aten.std.correction,
        aten.sum.dim_IntList,
        aten.var.correction,
        aten.var_mean.correction,
    }
)
CONVOLUTIONS: frozenset[Any] = frozenset(
    {
        aten.conv1d.default,
        aten.conv1d.padding,
        aten.conv2d.default,
        aten.conv2d.padding,
        aten.conv_transpose2d.input,
        aten.convolution.default,
    }
)
_REGRIDS: frozenset[Any] = frozenset(
    {
        aten.adaptive_avg_pool2d.default,
        aten.adaptive_max_pool2d.default,
        aten.avg_pool2d.default,
        aten.max_pool2d.default,
        aten.max_pool2d_with_indices.default,
        aten.upsample_bicubic2d.default,
        aten.upsample_bicubic2d.vec,
        aten.upsample_bilinear2d.default,
        aten.upsample_bilinear2d.vec,
        aten.upsample_nearest2d.default,
        aten.upsample_nearest2d.vec,
    }
)
_PRODUCTS: frozenset[Any] = frozenset({aten.matmul.default, aten.bmm.default, aten.mm.default})
_ATTENTION = aten.scaled_dot_product_attention.default
LINEAR = aten.linear.default
# Affine in their first argument, if the others are constants.
AFFINE: frozenset[Any] = frozenset(
    {
        *MOVES,
        *_RESHAPES,
        *CONVOLUTIONS,
        LINEAR,
        operator.getitem,
        aten.add.Tensor,
        aten.batch_norm.default,
        aten.clone.default,
        aten.contiguous.default,
        aten.dropout.default,
        aten.mean.dim,
        aten.mul.Tensor,
        aten.sub.Tensor,
    }
)
# Affine in all of their arguments.
SUMS: frozenset[Any] = frozenset({*_JOINS, aten.add.Tensor, aten.sub.Tensor})
# What the map of a module that is worth naming ends in.
ENDS_OF_BLOCKS: frozenset[Any] = frozenset(
    {
        *CONVOLUTIONS,
        *_REGRIDS,
        aten.add.Tensor,
        aten.add_.Tensor,
        aten.batch_norm.default,
        aten.cat.default,
        aten.layer_norm.default,
        aten.relu.default,
    }
)


def places(captured: Captured) -> dict[fx.Node, Any]:
    """The places of every value that depends on the image, for a batch of two.

    `Places` of a tensor, a list of them for several. Nothing if the network writes into parts of
    tensors, which is not followed.
    """
    known: dict[fx.Node, Any] = {}
    found: dict[fx.Node, Any] = {}
    with torch.inference_mode(False), torch.no_grad():
        for node in captured.graph.graph.nodes:
            if node.op == "placeholder":
                known[node] = found[node] = whole(_shape(node.meta["val"]))
            elif node.op == "get_attr":
                known[node] = operator.attrgetter(str(node.target))(captured.graph)
            elif node.op == "call_function":
                value = known[node] = _value(node, known)
                # The size of a batch depends on no pixel.
                if any(source in found for source in node.all_input_nodes) and _is_placed(value):
                    if _writes(node) and not same(value, known[node.all_input_nodes[0]]):
                        return {}
                    found[node] = value
    return found


def is_pointwise(node: fx.Node) -> bool:
    """Whether an operation computes every element from elements at the same position."""
    target: Any = node.target
    return isinstance(target, torch._ops.OpOverload) and torch.Tag.pointwise in target.tags


def mixes(user: fx.Node, source: fx.Node) -> tuple[int, ...] | None:
    """Axes of an argument along which an operation mixes elements; None for all of them."""
    target: Any = user.target
    is_first = [*user.all_input_nodes].index(source) == 0 and source in user.args[:1]
    if target is operator.getitem or target in _JOINS:
        return ()
    if target in MOVES | _RESHAPES | _PADS or target is aten.expand_as.default:
        return () if is_first else None
    if not isinstance(target, torch._ops.OpOverload):
        return None
    given = _by_name(target, user.args, user.kwargs)
    if target is _ATTENTION or target in _PRODUCTS:
        return (-1,) if is_first and source not in user.args[1:] else None
    if target is LINEAR:
        return (-1,) if is_first else None
    if target in (aten.softmax.int, aten.log_softmax.int):
        return (given["dim"],)
    if target in (aten.layer_norm.default, aten.rms_norm.default):
        return tuple(range(-len(given["normalized_shape"]), 0))
    if target in (aten.group_norm.default, aten.instance_norm.default):
        return None
    return () if torch.Tag.pointwise in target.tags or target in _IN_PLACE else None


def _by_name(target: Any, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    declared = target._schema.arguments
    given = dict(zip((each.name for each in declared), args, strict=False))
    return {each.name: each.default_value for each in declared} | given | dict(kwargs)


def _is_placed(value: Any) -> bool:
    return any(isinstance(each, Places) for each in _flat([value]))


def _writes(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _shape(value: Tensor) -> Shape:
    """Of a value in the graph, for the batch of two that it was captured with."""
    lengths: Any = value.shape
    return tuple(
        cast(int, each.node.hint) if isinstance(each, torch.SymInt) else each for each in lengths
    )


def _value(node: fx.Node, known: Mapping[fx.Node, Any]) -> Any:
    """Places of the result, or the result itself where it does not depend on the image."""
    target: Any = node.target
    args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), known.__getitem__)
    sources: list[Any] = [known[source] for source in node.all_input_nodes]
    if target is operator.getitem or not any(isinstance(each, Places) for each in sources):
        return target(*args, **kwargs)
    if target is aten.sym_size.int:
        return sources[0].shape[args[1]]
    results = node.meta.get("val")
    shapes = [_shape(each) for each in _flat([results]) if isinstance(each, Tensor)]
    if not shapes:
        return None
    found = _placed(target, args, kwargs, shapes[0])
    if isinstance(results, Tensor) or isinstance(found, list):
        return found
    return [found if shape == shapes[0] else found.everywhere(shape) for shape in shapes]


def _is_pointwise(given: Mapping[str, Any]) -> bool:
    """Whether a convolution looks at one element, of all channels."""
    moves = {*_flat([given.get("stride")]), *given["weight"].shape[2:]}
    is_unpadded = given.get("padding") == "valid" or not any(_flat([given.get("padding")]))
    return moves == {1} and is_unpadded and given.get("transposed") is not True


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


@dataclass(frozen=True, eq=False)
class _Call:
    """An operation with places for the tensors that depend on the image.

    Attributes:
        target, args, kwargs: as in the graph.
        given: all arguments by name.
        tensors: constants and places among them.
        shape: of the result, the first if there are several.
    """

    target: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    given: Mapping[str, Any]
    tensors: tuple[Tensor | Places, ...]
    shape: Shape

    @property
    def depend(self) -> list[Places]:
        return [each for each in self.tensors if isinstance(each, Places)]

    def located(self, number: int) -> Places:
        """An argument's places; constants have none."""
        found = self.tensors[number]
        return found if isinstance(found, Places) else nowhere(found.shape)


def _placed(target: Any, args: Any, kwargs: Mapping[str, Any], shape: Shape) -> Any:
    """Places of the result, a list for several of a move."""
    given = _by_name(target, args, kwargs)
    tensors = tuple(each for each in _flat(given.values()) if isinstance(each, Tensor | Places))
    call = _Call(target, args, kwargs, given, tensors, shape)
    rule = _pointwise if torch.Tag.pointwise in target.tags else _RULES.get(target, _anywhere)
    # Weights or indices that depend on the image.
    is_known = len(call.depend) == 1 and isinstance(tensors[0], Places)
    return rule(call) if is_known or rule in _OF_SEVERAL else _anywhere(call)


def _anywhere(call: _Call) -> Places:
    """What no rule knows may come from everywhere."""
    return reduce(together, (each.everywhere(call.shape) for each in call.depend))


def _pointwise(call: _Call) -> Places:
    return reduce(together, call.depend).expand(call.shape)


def _moved(call: _Call) -> Any:
    """The same move of every tensor of the places; constants have none."""
    is_join = call.target in _JOINS
    if call.target is aten.cat.default and len(call.depend) == len(call.tensors):
        # Channels of the same places, put beside each other.
        axis = call.given["dim"]
        ends = [each.around([axis]) for each in call.depend]
        if all(same(each, ends[0]) for each in ends) and not any(
            each.varies(axis) for each in call.depend
        ):
            return ends[0].expand(call.shape)

    def part_of(value: Any, number: int) -> Any:
        if isinstance(value, Places):
            return value.reach[number]
        if isinstance(value, list | tuple):
            return type(value)(part_of(each, number) for each in value)
        if isinstance(value, Tensor):
            return torch.zeros(value.shape, dtype=torch.float64) if is_join else value.cpu()
        return value

    count = len(call.depend[0].reach)
    args = ([part_of(each, number) for each in call.args] for number in range(count))
    return joined([call.target(*each, **call.kwargs) for each in args])


def _reshaped(call: _Call) -> Places:
    return call.located(0).moved(lambda part: part.reshape(call.shape))


def _expanded(call: _Call) -> Places:
    return call.located(0).expand(call.shape)


def _padded(call: _Call) -> Places:
    widths = call.given.get("pad") or call.given["padding"]
    x = call.located(0)
    # The axes that are not padded, without repetitions.
    first = len(x.shape) - len(widths) // 2
    kept = [1 if axis < first and not x.varies(axis) else n for axis, n in enumerate(x.shape)]
    small = x.moved(lambda part: part[tuple(slice(length) for length in kept)])
    return small.moved(lambda part: F.pad(part, widths)).expand(call.shape)


def _reduced(call: _Call) -> Places:
    x, axes = call.located(0), call.given["dim"]
    axes = [axes] if isinstance(axes, int) else axes or range(len(x.shape))
    return x.around(axes, bool(call.given["keepdim"])).expand(call.shape)


def _linear(call: _Call) -> Places:
    return call.located(0).around([-1]).expand(call.shape)


def _product(call: _Call) -> Places:
    """Of matrices: a row's place, which in an attention is the query's, and not the keys'."""
    x, y = call.located(0), call.located(1)
    if min(len(x.shape), len(y.shape)) < 2:
        return _anywhere(call)
    rows, columns = x.around([-1]), y.around([-2])
    return (rows if rows.varies(-2) else together(rows, columns)).expand(call.shape)


def _copied(call: _Call) -> Places:
    return call.located(1).expand(call.shape)


def _convolved(call: _Call) -> Places:
    if _is_pointwise(call.given):
        return call.located(0).around([1]).expand(call.shape)
    return _regridded(call)


def _regridded(call: _Call) -> Places:
    return regridded(call.located(0), call.shape) if len(call.shape) == 4 else _anywhere(call)


_RULES: Mapping[Any, Callable[[_Call], Any]] = {
    **dict.fromkeys(MOVES, _moved),
    **dict.fromkeys(_RESHAPES, _reshaped),
    **dict.fromkeys(_PADS, _padded),
    **dict.fromkeys(_IN_PLACE, _pointwise),
    **dict.fromkeys(_REDUCTIONS, _reduced),
    **dict.fromkeys(_PRODUCTS, _product),
    **dict.fromkeys(CONVOLUTIONS, _convolved),
    **dict.fromkeys(_REGRIDS, _regridded),
    aten.expand_as.default: _expanded,
    aten.copy_.default: _copied,
    _ATTENTION: _linear,
    LINEAR: _linear,
}
_OF_SEVERAL = (_pointwise, _moved, _reshaped, _expanded, _product, _copied)

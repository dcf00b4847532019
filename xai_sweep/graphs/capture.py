"""A network as a flat graph of ATen operations.

`torch.export` sees every operation, whether it is a module, a function or a re-used ReLU, so a
method that works on the captured graph works on any CNN without knowing its classes.
"""

import logging
import operator
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from xai_sweep.core.errors import InputError
from xai_sweep.models.classifier import Classifier, evaluating
from xai_sweep.models.output import path_in_network

aten = torch.ops.aten

# Methods read activations after the pass, so no operation may overwrite its input.
_OUT_OF_PLACE: Mapping[Any, Any] = {
    aten.relu_.default: aten.relu.default,
    aten.relu6_.default: aten.relu6.default,
    aten.hardtanh_.default: aten.hardtanh.default,
    aten.leaky_relu_.default: aten.leaky_relu.default,
    aten.elu_.default: aten.elu.default,
    aten.selu_.default: aten.selu.default,
    aten.celu_.default: aten.celu.default,
    aten.mish_.default: aten.mish.default,
    aten.silu_.default: aten.silu.default,
    aten.tanh_.default: aten.tanh.default,
    aten.hardswish_.default: aten.hardswish.default,
    aten.hardsigmoid_.default: aten.hardsigmoid.default,
    aten.sigmoid_.default: aten.sigmoid.default,
    aten.clamp_.default: aten.clamp.default,
    aten.clamp_min_.default: aten.clamp_min.default,
    aten.add_.Tensor: aten.add.Tensor,
    aten.sub_.Tensor: aten.sub.Tensor,
    aten.mul_.Tensor: aten.mul.Tensor,
    aten.div_.Tensor: aten.div.Tensor,
    aten.dropout_.default: aten.dropout.default,
}

# Operations that split a tensor along a dimension, their third argument.
_SPLITS: frozenset[Any] = frozenset(
    {
        aten.chunk.default,
        aten.unsafe_chunk.default,
        aten.split.Tensor,
        aten.split.sizes,
        aten.split_with_sizes.default,
        aten.unsafe_split.Tensor,
        aten.tensor_split.sections,
        aten.tensor_split.indices,
    }
)


@dataclass(frozen=True, eq=False)
class Captured:
    """A classifier's graph for one channel count and image size, any batch size.

    Attributes:
        graph: computes the logits; shares parameters and buffers with the classifier's module.
        paths: module path (``features.0``) of every node, empty at the top level.
    """

    graph: fx.GraphModule
    paths: Mapping[fx.Node, str]

    def versions(self) -> tuple[int, ...]:
        """Which state the weights are in; training steps and other changes in place count on."""
        tensors = (*self.graph.parameters(), *self.graph.buffers())
        return tuple(-1 if tensor.is_inference() else tensor._version for tensor in tensors)


_captured: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], Captured]] = WeakKeyDictionary()


def capture(classifier: Classifier, images: Float[Tensor, "b c h w"]) -> Captured:
    """The classifier's graph for images of this shape; captured once per module and shape.

    The module itself is not changed: same mode, no hooks, no copies of its weights.

    Raises:
        InputError: the network's control flow depends on its data; the message names the line. Or
            it draws random numbers, so that no graph stands for it.
    """
    module = classifier.module
    if classifier.examined is not None and not classifier.examined.has_gradients:
        allowed = "must be a network that can be differentiated, to have a graph that is of use"
        raise InputError("model", type(module).__name__, allowed)
    if classifier.examined is not None and classifier.examined.is_random:
        allowed = "must be refuse for this method: a network that draws random numbers has no graph"
        raise InputError("model.stochastic", classifier.stochastic, allowed)
    # The weights' addresses are part of the key, because moving a module replaces its tensors.
    weights = tuple(tensor.data_ptr() for tensor in _tensors(module))
    key = (tuple(images.shape[1:]), images.device, images.dtype, weights)
    known = _captured.setdefault(module, {})
    if key not in known:
        # A graph that was captured in inference mode could not be differentiated.
        with torch.inference_mode(False):
            known[key] = _capture(module, images)
    return known[key]


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """All parameters and buffers, shared ones repeatedly; ``module.parameters()`` is far slower."""
    for part in module.modules():
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if tensor is not None:
                yield tensor


def _capture(module: nn.Module, images: Tensor) -> Captured:
    # Two images, because torch.export would treat a batch size of one as a constant.
    example = torch.zeros_like(images[:1]).repeat(2, 1, 1, 1)
    try:
        with evaluating(module), torch.no_grad(), _silence():
            program = torch.export.export(
                module, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
            )
    except Exception as error:  # torch.export raises a family of types without a common base
        reason = f"must be a graph torch.export can capture: {' '.join(str(error).split())[:200]}"
        raise InputError("model", type(module).__name__, reason + _line(error)) from error
    graph = program.module(check_guards=False)
    paths: dict[fx.Node, str] = {}
    _refuse_shared_memory(graph.graph)
    _remove_in_place(graph.graph)
    _slice_pieces(graph.graph)
    _spell_out(graph.graph)
    graph.graph.eliminate_dead_code()
    for node in graph.graph.nodes:
        if node.op != "call_function":
            continue
        paths[node] = path_in_network(module, _path(node))
    graph.recompile()
    return Captured(graph, paths)


def _path(node: fx.Node) -> str:
    """The path of the module that the node belongs to."""
    stack = node.meta.get("nn_module_stack") or {}
    return next((path for path, _ in reversed(stack.values())), "")


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress what torch.export prints before it raises, which is pages: one line is enough.

    Caches of constants, of which it warns, it puts back as they were.
    """
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            redirect_stdout(StringIO()),
            redirect_stderr(StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", message="The tensor attribute")
            yield
    finally:
        logger.setLevel(level)


def _line(error: Exception) -> str:
    """The last line outside torch that ran before the error: a line of the network's own code."""
    not_the_networks = (Path(torch.__file__).parent, Path(__file__).parents[1])
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not any(Path(frame.filename).is_relative_to(folder) for folder in not_the_networks):
            return f" ({frame.filename}, line {frame.lineno}: {frame.line})"
    return ""


def _refuse_shared_memory(graph: fx.Graph) -> None:
    """Refuse an operation in place on a part of a tensor of which another part is read later.

    What it overwrites there would be lost once every operation returns a new tensor.

    Raises:
        InputError: naming the module and the operation.
    """
    order = {node: number for number, node in enumerate(graph.nodes)}
    tensors: dict[fx.Node, fx.Node] = {}  # an operation in place is a new name of the same tensor
    memory: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        of = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else node
        in_place = node.target in _OUT_OF_PLACE
        tensors[node] = tensors[of] if in_place else node
        memory[node] = memory[of] if in_place or _is_view(node) else node
        parts = [each for each, where in memory.items() if in_place and where is memory[of]]
        others = [each for each in parts if _may_overlap(tensors[each], tensors[of])]
        if any(order[user] > order[node] for each in others for user in each.users):
            raise InputError(
                "model",
                _path(node) or "the network",
                f"overwrites a part of a tensor ({node.target}) of which another part is read "
                "later, which cannot be captured; write it without inplace=True",
            )


def _may_overlap(one: fx.Node, other: fx.Node) -> bool:
    """Whether two tensors of the same memory may share values; pieces of one split do not."""
    are_pieces = one.target is other.target is operator.getitem and one.args[0] is other.args[0]
    return one is not other and not are_pieces


def _is_view(node: fx.Node) -> bool:
    """Whether the node's value is memory of its first argument."""
    if node.target is operator.getitem:
        return True
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    results = node.target._schema.returns
    return any(each.alias_info is not None and not each.alias_info.is_write for each in results)


def _remove_in_place(graph: fx.Graph) -> None:
    """Make every operation return a new tensor, which later readers of the overwritten one read."""
    seen: set[fx.Node] = set()
    for node in graph.nodes:
        seen.add(node)
        if node.op == "call_function" and node.target in _OUT_OF_PLACE:
            node.target = _OUT_OF_PLACE[node.target]
            overwritten = node.args[0]
            assert isinstance(overwritten, fx.Node)
            overwritten.replace_all_uses_with(node, delete_user_cb=lambda user: user not in seen)


def _slice_pieces(graph: fx.Graph) -> None:
    """Make every piece of a split tensor a slice of it, so that no operation has several results.

    Splits along the batch, whose lengths are not known, stay.
    """
    for node in graph.nodes:
        if node.target is not operator.getitem or not isinstance(node.args[0], fx.Node):
            continue
        (whole, *rest), index = node.args[0].args, node.args[1]
        if node.args[0].target is aten.unbind.int:
            dim = rest[0] if rest else 0
            node.target, node.args = aten.select.int, (whole, dim, index)
        elif node.args[0].target in _SPLITS:
            dim = rest[1] if len(rest) > 1 else 0
            lengths = [piece.shape[dim] for piece in node.args[0].meta["val"]]
            index %= len(lengths)
            if all(isinstance(length, int) for length in lengths):
                start, length = sum(lengths[:index]), lengths[index]
                node.target, node.args = aten.narrow.default, (whole, dim, start, length)


# Operations of two steps: that on the second and third argument, of which so many are added.
_TWO_STEPS: Mapping[Any, Any] = {
    aten.addcmul.default: aten.mul.Tensor,
    aten.addcdiv.default: aten.div.Tensor,
}


def _spell_out(graph: fx.Graph) -> None:
    """Make two operations of those that add a product or a quotient."""
    for node in list(graph.nodes):
        if node.target not in _TWO_STEPS:
            continue
        start, *factors = node.args
        with graph.inserting_before(node):
            made = graph.call_function(_TWO_STEPS[node.target], tuple(factors))
        first, second = (each.meta["val"] for each in factors)
        made.meta = {**node.meta, "val": _TWO_STEPS[node.target](first, second)}
        scale = {"alpha": node.kwargs["value"]} if "value" in node.kwargs else {}
        node.target, node.args, node.kwargs = aten.add.Tensor, (start, made), scale

"""Pixels that a network normalises itself before its first layer."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, fx

from xai_sweep.explainers.relevance.engine import operations as known
from xai_sweep.explainers.relevance.engine.flow import Flow
from xai_sweep.explainers.relevance.engine.fuse import Fused
from xai_sweep.explainers.relevance.engine.rule import Rule
from xai_sweep.explainers.relevance.engine.steps import Activation, Step

aten = torch.ops.aten

Bounds = tuple[Float[Tensor, " c"], Float[Tensor, " c"]]
# A shift or a scale; and what only moves whole channels, if it is along the channels.
_NORMALISES = frozenset({*known.ADDS, *known.PRODUCTS, *known.QUOTIENTS, known.NEGATION})
_MOVES = frozenset(
    {
        aten.contiguous.default,
        aten.clone.default,
        aten.alias.default,
        aten.detach.default,
        aten.dropout.default,
        aten.unsqueeze.default,
        aten.select.int,
        aten.slice.Tensor,
        known.CONCATENATE,
    }
)


@torch.no_grad()
def bounds_of_pixels(flow: Flow, bounds: Bounds) -> Mapping[fx.Node, Bounds]:
    """The nodes that are the image, or a shift and a scale of it per channel, with their bounds.

    Args:
        flow: the graph.
        bounds: smallest and largest value of the image's channels, ``[C]`` each.
    """
    shape = (1, -1, 1, 1)
    # What an image of one pixel becomes that has the smallest values, or the largest.
    ends = {flow.image: (bounds[0].view(shape), bounds[1].view(shape))}
    for node in flow.nodes:
        inputs = flow.inputs(node)
        others = {arg for arg in node.all_input_nodes if arg not in inputs}
        if not inputs or not ends.keys() >= {*inputs} or not others <= flow.constants.keys():
            continue
        if not _is_shift_and_scale(node, inputs) and not _moves_channels(node):
            continue
        found = []
        for end in (0, 1):
            values = {arg: flow.constants[arg] for arg in others}
            values |= {arg: ends[arg][end] for arg in inputs}
            args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), values.__getitem__)
            found.append(node.target(*args, **kwargs))
        if node.target in _MOVES or found[0].shape == ends[inputs[0]][0].shape:
            # A negative scale exchanges the two.
            ends[node] = (torch.minimum(*found), torch.maximum(*found))
    return {
        node: (low.flatten(), high.flatten())
        for node, (low, high) in ends.items()
        if low.dim() == 4 or node.target in _MOVES
    }


def _is_shift_and_scale(node: fx.Node, inputs: Sequence[fx.Node]) -> bool:
    is_divisor = node.target in known.QUOTIENTS and node.args[0] not in inputs
    return node.target in _NORMALISES and len(inputs) == 1 and not is_divisor


def _moves_channels(node: fx.Node) -> bool:
    """Whether the operation leaves height, width and batch where they are."""
    if node.target not in _MOVES:
        return False
    given = known.arguments(node)
    if node.target is aten.slice.Tensor:
        return [given[name] for name in ("start", "end", "step")] == [0, sys.maxsize, 1]
    return bool(given.get("dim", 1) == 1)


def handed_on_nodes(
    flow: Flow,
    pixels: Collection[fx.Node],
    layers: Sequence[Fused],
    rule_of: Callable[[Fused], Rule],
) -> set[fx.Node]:
    """The nodes of a normalisation that hand relevance on to the pixels as it is.

    These are all of them if all that reads them is layers with rules for pixels: then a pixel has
    the relevance of its normalised value, as if it had been normalised before the network. With the
    rule for sums the mean would absorb most of it, or more than all. Otherwise there are none.

    Args:
        flow: the graph.
        pixels: the nodes that are the image or a normalised image.
        layers: of the network.
        rule_of: the rule of a layer.
    """
    first = [layer for layer in layers if layer.start in pixels]
    members = set().union(*(layer.members for layer in first))
    readers = {user for node in pixels for user in node.users if user in flow.receivers}
    if readers <= {*members, *pixels} and all(rule_of(layer).is_for_pixels for layer in first):
        return {node for node in pixels if node.target in _NORMALISES and flow.receivers.get(node)}
    return set()


def normalisation(flow: Flow, node: fx.Node) -> Step:
    """The step of a node that hands relevance on."""
    return Activation(
        node=node,
        args=node.args,
        kwargs=node.kwargs,
        inputs=flow.receivers[node],
        path=flow.paths.get(node, ""),
        op="normalisation",
        rule="pass",
        note="a pixel has the relevance of its normalised value",
        compute=node.target,  # type: ignore[arg-type]
    )

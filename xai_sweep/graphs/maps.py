"""The maps of a network, and which of them a layer's name means.

A map is a value with one element for every cell of a grid over the image, in every channel; see
`xai_sweep.graphs.layout`. A layer is named by the path of a module, or by a fraction of depth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import reduce
from typing import Annotated, Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from annotated_types import Ge, Le
from torch import fx

from xai_sweep.core.errors import InputError
from xai_sweep.graphs import placing
from xai_sweep.graphs.capture import Captured
from xai_sweep.graphs.layout import Layout, layout_of
from xai_sweep.graphs.places import Places

aten = torch.ops.aten

# How a layer is named; see `find_map`.
LayerName: TypeAlias = Annotated[float, Ge(0), Le(1)] | Annotated[int, Ge(2)] | str | None

_KEY = "explainer.layer"


@dataclass(frozen=True, eq=False)
class Map:
    """A node of the graph whose value is a map.

    Attributes:
        node: of the captured graph.
        layout: where the map's pixels lie in the value.
        path: of the module that computes it, empty at the top level.
    """

    node: fx.Node
    layout: Layout
    path: str


def find_map(captured: Captured, layer: LayerName = None) -> Map:
    """The map that a layer's name means.

    Args:
        captured: the network.
        layer: the path of a module, for the last map that it computes. A number from 0 to 1, for
            the map at this depth: the last map of the layer with weights at this share of all such
            layers, 0 the first and 1 the last, as in the rules of LRP, among the maps through which
            all evidence passes. None for the last map of more than one pixel through which all
            evidence passes; where its pixels are only read as keys and values of an attention, the
            map that these are projections of.

    Raises:
        InputError: there is no such module, it computes no map, or the logits do not depend on the
            map's pixels; names modules that can be named.
    """
    return _maps_of(captured).find(layer)


def map_at(captured: Captured, node: fx.Node) -> Map | None:
    """The map that a node computes; None if its value is not one."""
    maps = _maps_of(captured)
    return maps.map_at(node) if node in maps.layouts else None


class _Maps:
    def __init__(self, captured: Captured) -> None:
        # Not the captured network itself: these are remembered for as long as it lives.
        self.paths = captured.paths
        self.places = placing.places(captured)
        self.nodes = list(captured.graph.graph.nodes)
        self.layouts = dict(self._layouts())
        self.ends = next(node for node in self.nodes if node.op == "output")
        self.live = self._live()
        self.parents, self.heights = self._dominators()

    def find(self, layer: LayerName) -> Map:
        if layer is None:
            node = self._last()
            if node is None:
                raise self._refusal(layer, "cannot be told: no map has all evidence")
        elif isinstance(layer, str | int):  # 3 is a module of nn.Sequential
            node = self._named(str(layer))
        else:
            node = self._at(layer)
        return self.map_at(node)

    def map_at(self, node: fx.Node) -> Map:
        """A node's map, with the path of the module that computed what it moves."""
        source = node
        while not self.paths.get(source) and source.target in placing.MOVES:
            source = source.all_input_nodes[0]
        return Map(node, self.layouts[node], self.paths.get(source, ""))

    def _named(self, layer: str) -> fx.Node:
        inside = [node for node in self.places if self._is_in(node, layer)]
        maps = [node for node in inside if node in self.layouts]
        if not maps:
            why = (
                "computes no map" if inside else f"is no module of this network{self._close(layer)}"
            )
            raise self._refusal(layer, why)
        if maps[-1] not in self.live:
            raise self._refusal(layer, "has a map of whose pixels the logits do not depend")
        return maps[-1]

    def _at(self, depth: float) -> fx.Node:
        named = [path for path in self._modules() if _is_number(path, depth)]
        if named:
            raise InputError(
                _KEY,
                depth,
                f"is a depth and a module as well: for the module write '\"{named[0]}\"', "
                f"or a number close by for the depth, {abs(depth - 1e-6):.6f}",
            )
        last = self._last()
        if last is None:
            raise self._refusal(depth, "cannot be told: no map has all evidence")
        chain = [
            node
            for node in reversed([*self._above(last)])
            if node in self.live and (node is last or node.target not in placing.MOVES)
        ]
        order, count = self._depths()
        off = [abs(order[node] / max(1, count - 1) - depth) for node in chain]
        # Of the nodes after one layer with weights, the last: behind normalisation and activation.
        return min(zip(off, range(0, -len(off), -1), chain, strict=True))[2]

    def _depths(self) -> tuple[dict[fx.Node, int], int]:
        """How many layers with weights were computed before or with a node, and how many are."""
        order: dict[fx.Node, int] = {}
        count = 0
        for node in self.places:
            is_layer = node.target is placing.LINEAR or node.target in placing.CONVOLUTIONS
            count += is_layer
            order[node] = max(0, count - 1)
        return order, count

    def _last(self) -> fx.Node | None:
        """The last map through which all evidence passes, None if there is none."""
        ends = self._ends()
        if not ends:
            return None
        found: fx.Node | None = reduce(self._meeting, ends)
        while len(ends) > 1 and found is not None and self._is_projection(found):
            found = self.parents[found]
        while found is not None and found not in self.live:
            found = self.parents[found]
        return found

    def _ends(self) -> list[fx.Node]:
        """Live maps whose pixels reach no pixel of a later one."""
        pixels: set[fx.Node] = set()  # their pixels reach pixels of a later live map
        others: set[fx.Node] = set()  # their other elements do, class tokens for example
        for node in reversed(self.nodes):
            places = self.places.get(node)
            has_cells = _has_cells(places)
            for user in node.users if node in self.places else ():
                to_pixels = user in self.live or user in pixels
                keeps = _keeps(user, node, places)
                if has_cells and (to_pixels or (user in others and not keeps)):
                    pixels.add(node)
                # A number for all pixels scales them, but a token is put beside them.
                reaches = not keeps or (placing.is_pointwise(user) and not has_cells)
                if user in others or (to_pixels and reaches):
                    others.add(node)
        return [node for node in self.live if node not in pixels]

    def _is_projection(self, node: fx.Node) -> bool:
        """Whether a value is an affine function of the one above it."""
        above, waiting = self.parents[node], [node]
        while waiting:
            each = waiting.pop()
            sources = [source for source in each.all_input_nodes if source in self.places]
            one = len(sources) == 1 and each.target in placing.AFFINE
            if not (one or each.target in placing.SUMS):
                return False
            waiting += [source for source in sources if source is not above]
        return True

    def _layouts(self) -> Iterator[tuple[fx.Node, Layout]]:
        known: dict[Places, Layout | None] = {}
        for node, places in self.places.items():
            if isinstance(places, Places) and node.op == "call_function":
                if places not in known:
                    known[places] = layout_of(places)
                found = known[places]
                if found is not None:
                    yield node, found

    def _live(self) -> dict[fx.Node, Layout]:
        """Maps of whose pixels the logits depend, and not only of a class token beside them."""
        reaching: set[fx.Node] = {self.ends}
        alive: set[fx.Node] = set()
        for node in reversed(self.nodes):
            users = [user for user in node.users if user in reaching]
            if users:
                reaching.add(node)
            if node in self.places and _has_cells(self.places[node]):
                place = self.places[node]
                if any(user in alive or not _keeps(user, node, place) for user in users):
                    alive.add(node)
        return {node: layout for node, layout in self.layouts.items() if node in alive}

    def _dominators(self) -> tuple[dict[fx.Node, fx.Node | None], dict[fx.Node, int]]:
        """For each node the last one before it through which everything passes, and how many."""
        self.parents, self.heights = {}, {}
        for node in self.places:
            sources = [source for source in node.all_input_nodes if source in self.parents]
            self.parents[node] = reduce(self._meeting, sources) if sources else None
            parent = self.parents[node]
            self.heights[node] = 0 if parent is None else self.heights[parent] + 1
        return self.parents, self.heights

    def _meeting(self, first: fx.Node, second: fx.Node) -> fx.Node:
        while first is not second:
            if self.heights[first] < self.heights[second]:
                first, second = second, first
            above = self.parents[first]
            assert above is not None
            first = above
        return first

    def _above(self, node: fx.Node) -> Iterator[fx.Node]:
        above: fx.Node | None = node
        while above is not None:
            yield above
            above = self.parents[above]

    def _is_in(self, node: fx.Node, layer: str) -> bool:
        return f"{self.paths.get(node, '')}.".startswith(f"{layer}.")

    def _modules(self) -> list[str]:
        """Paths of all modules that compute something."""
        parts = (path.split(".") for path in self.paths.values() if path)
        prefixes = (".".join(each[: 1 + end]) for each in parts for end in range(len(each)))
        return list(dict.fromkeys(prefixes))

    def _close(self, layer: str) -> str:
        close = get_close_matches(layer, self._modules(), n=3)
        return f"; did you mean {' or '.join(close)}?" if close else ""

    def _refusal(self, layer: LayerName, why: str) -> InputError:
        nodes = (node for node in self.live if node.target in placing.ENDS_OF_BLOCKS)
        paths = dict.fromkeys(self.paths[node] for node in nodes)
        names = [path for path in paths if path][-6:]
        if not names:
            return InputError(
                _KEY,
                layer,
                f"{why}, and no other module has one that the graph can prove; "
                "choose a method without layers, such as explainer=lime",
            )
        return InputError(
            _KEY, layer, f"{why}; name a module with a map, such as {', '.join(reversed(names))}"
        )


_known: WeakKeyDictionary[Captured, _Maps] = WeakKeyDictionary()


def _maps_of(captured: Captured) -> _Maps:
    if captured not in _known:
        _known[captured] = _Maps(captured)
    return _known[captured]


def _is_number(path: str, number: float) -> bool:
    try:
        return float(path) == number
    except ValueError:
        return False


def _has_cells(places: Any) -> bool:
    """Whether some element has a place smaller than the image."""
    if not isinstance(places, Places):
        return isinstance(places, list) and any(_has_cells(each) for each in places)
    box = places.stacked()
    return bool(((box > 0).all(dim=0) & (box[[1, 2, 4, 5]] < 2).any(dim=0)).any())


def _keeps(user: fx.Node, source: fx.Node, places: Any) -> bool:
    """Whether elements of a value go only to elements of the same place."""
    if user.op != "call_function":
        return False
    mixed = placing.mixes(user, source)
    return mixed is not None and not any(places.varies(axis) for axis in mixed)

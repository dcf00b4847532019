"""Which rule applies where: an ordered list of entries, of which the first that matches wins."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine.rule import Rule

KEY = "explainer.rules"
OPS = ("conv", "linear", "batchnorm", "add", "pool", "upsample")
POSITIONS = ("first", "last")
MATCHERS = ("op", "path", "index", "depth", "position")
INDEX = re.compile(r"(?P<prefix>.*)\[(?P<start>\d*)(?P<colon>:?)(?P<stop>\d*)\]")


@dataclass(frozen=True)
class Operation:
    """An operation that needs a rule.

    Attributes:
        op: its kind, one of `OPS`.
        path: the path of its module; for a function, of the module that calls it.
        depth: 0 at the first layer with weights, 1 at the last.
        position: which of `POSITIONS` it has among the layers with weights.
    """

    op: str
    path: str
    depth: float
    position: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Entry:
    """A rule and the operations that it is for; all matchers must hold, None holds everywhere.

    Attributes:
        rule: the rule.
        key: of the entry, as in ``explainer.rules[2]``.
        op: kinds of operation.
        path: a glob over module paths.
        index: a slice of a sequence of modules, ``features[0:17]``.
        depth: a range, see `Operation.depth`.
        position: one of `POSITIONS`.
    """

    rule: Rule
    key: str
    op: tuple[str, ...] | None = None
    path: str | None = None
    index: str | None = None
    depth: tuple[float, float] | None = None
    position: str | None = None

    def matches(self, operation: Operation) -> bool:
        """Whether the entry is for this operation."""
        return (
            (self.op is None or operation.op in self.op)
            and self.names(operation.path)
            and (self.position is None or self.position in operation.position)
            and (self.depth is None or _within(operation.depth, self.depth))
        )

    def names(self, path: str) -> bool:
        """Whether the matchers by path hold for this path."""
        return (self.path is None or fnmatchcase(path, self.path)) and (
            self.index is None or _in_slice(path, self.index)
        )


def _within(depth: float, bounds: tuple[float, float]) -> bool:
    """Half open, so that neighbouring ranges share no layer; but 1 includes the last layer."""
    start, stop = bounds
    return start <= depth < stop or depth == stop == 1


def _in_slice(path: str, index: str) -> bool:
    found = INDEX.fullmatch(index)
    assert found is not None
    prefix = f"{found['prefix']}." if found["prefix"] else ""
    number = path.removeprefix(prefix).partition(".")[0]
    if not path.startswith(prefix) or not number.isdecimal():
        return False
    start = int(found["start"] or 0)
    stop = (start + 1) if not found["colon"] else int(found["stop"]) if found["stop"] else None
    return start <= int(number) and (stop is None or int(number) < stop)


@dataclass(frozen=True)
class Composite:
    """How LRP treats every operation of a network.

    Attributes:
        entries: which rule applies where.
        batchnorm: ``fuse``, or the rule of every batchnorm.
        unsupported: ``error`` or ``gradient``, for operations that no rule is made for.
    """

    entries: tuple[Entry, ...]
    batchnorm: str | Rule
    unsupported: str

    def rule_for(self, operation: Operation) -> Rule:
        """The rule of the first entry that matches.

        Raises:
            InputError: none does; the message names the layer.
        """
        for entry in self.entries:
            if entry.matches(operation):
                return entry.rule
        allowed = (
            f"leaves {operation.path or 'the network'} ({operation.op}) without a rule; a last "
            "entry without matchers, such as {rule: zero}, covers all the rest"
        )
        raise InputError(KEY, f"{len(self.entries)} entries", allowed)

    def check_paths(self, paths: Sequence[str]) -> None:
        """Refuse a path or an index that names nothing in this network.

        Args:
            paths: of the operations that relevance passes.

        Raises:
            InputError: naming the entry, and some paths that exist.
        """
        for entry in self.entries:
            if not any(entry.names(path) for path in paths):
                word = "path" if entry.path is not None else "index"
                value = entry.path if entry.path is not None else entry.index
                known = list(dict.fromkeys(each for each in paths if each))
                some = ", ".join(known if len(known) <= 8 else [*known[:4], "...", *known[-3:]])
                allowed = f"matches no layer of this network; its layers are {some}"
                raise InputError(f"{entry.key}.{word}", value, allowed)

"""Which rule where: an ordered list of mappings, of which the first that matches wins."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from xai_sweep.core.errors import InputError, unknown_key
from xai_sweep.explainers.relevance.engine.rules import Rule, rules

KEY = "explainer.rules"
OPS = ("conv", "linear", "batchnorm", "add", "pool", "upsample")
POSITIONS = ("first", "last")
MATCHERS = ("op", "path", "index", "depth", "position")
_INDEX = re.compile(r"(?P<prefix>.*)\[(?P<start>\d*)(?P<colon>:?)(?P<stop>\d*)\]")


@dataclass(frozen=True)
class Place:
    """An operation that needs a rule.

    Attributes:
        op: what it is, one of `OPS`.
        path: of its module; for a function, of the module that calls it.
        depth: 0 at the first layer with weights, 1 at the last.
        position: whether it is the first or the last layer with weights.
    """

    op: str
    path: str
    depth: float
    position: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Choice:
    """A rule and where it is meant to work; all matchers must hold, None holds everywhere."""

    rule: Rule
    key: str
    op: tuple[str, ...] | None = None
    path: str | None = None
    index: str | None = None
    depth: tuple[float, float] | None = None
    position: str | None = None

    def matches(self, place: Place) -> bool:
        """Whether all matchers hold."""
        return (
            (self.op is None or place.op in self.op)
            and self.names(place.path)
            and (self.position is None or self.position in place.position)
            and (self.depth is None or _within(place.depth, self.depth))
        )

    def names(self, path: str) -> bool:
        """Whether the matchers by path hold."""
        return (self.path is None or fnmatchcase(path, self.path)) and (
            self.index is None or _in_slice(path, self.index)
        )


def _within(depth: float, bounds: tuple[float, float]) -> bool:
    """Half open, so that neighbouring ranges share no layer; but 1 includes the last layer."""
    start, stop = bounds
    return start <= depth < stop or depth == stop == 1


def _in_slice(path: str, index: str) -> bool:
    found = _INDEX.fullmatch(index)
    assert found is not None
    prefix = f"{found['prefix']}." if found["prefix"] else ""
    number = path.removeprefix(prefix).partition(".")[0]
    if not path.startswith(prefix) or not number.isdecimal():
        return False
    start = int(found["start"] or 0)
    stop = (start + 1) if not found["colon"] else int(found["stop"]) if found["stop"] else None
    return start <= int(number) and (stop is None or int(number) < stop)


def choices(given: object) -> tuple[Choice, ...]:
    """The list of rules as it is written, checked.

    Raises:
        InputError: naming the entry, the key, the value and what is allowed.
    """
    if not isinstance(given, list | tuple) or not given:
        raise InputError(KEY, given, "must be a list of mappings with at least a 'rule' each")
    return tuple(_choice(f"{KEY}[{number}]", entry) for number, entry in enumerate(given))


def _choice(key: str, entry: Mapping[str, Any]) -> Choice:
    known = rules()
    if not isinstance(entry, Mapping) or "rule" not in entry:
        raise InputError(key, entry, f"must be a mapping with a 'rule', one of {', '.join(known)}")
    name = entry["rule"]
    if name not in known:
        raise InputError(f"{key}.rule", name, f"must be one of {', '.join(known)}")
    types = {field.name: field.type for field in fields(known[name])}
    parameters = list(types)
    for word in entry:
        if word not in ("rule", *MATCHERS, *parameters):
            raise unknown_key(f"{key}.{word}", entry[word], [*parameters, *MATCHERS])
    values = {word: entry[word] for word in parameters if word in entry}
    for word, value in values.items():
        if types[word] is float and type(value) not in (int, float):
            raise InputError(f"{key}.{word}", value, "must be a number")
        if types[word] is bool and not isinstance(value, bool):
            raise InputError(f"{key}.{word}", value, "must be true or false")
        values[word] = float(value) if types[word] is float else value
    try:
        rule = known[name](**values)
    except InputError as error:
        parameter = error.key.rpartition(".")[2]
        raise InputError(f"{key}.{parameter}", error.value, error.allowed) from error
    return Choice(
        rule,
        key,
        op=_ops(key, entry.get("op")),
        path=_text(f"{key}.path", entry.get("path"), "a glob over module paths, as features.*"),
        index=_index(f"{key}.index", entry.get("index")),
        depth=_depth(f"{key}.depth", entry.get("depth")),
        position=_position(f"{key}.position", entry.get("position")),
    )


def _ops(key: str, given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    ops = (given,) if isinstance(given, str) else tuple(given)
    if not ops or not all(op in OPS for op in ops):
        raise InputError(f"{key}.op", given, f"must be one or a list of {', '.join(OPS)}")
    return ops


def _text(key: str, given: Any, allowed: str) -> str | None:
    if given is not None and (not isinstance(given, str) or not given):
        raise InputError(key, given, f"must be {allowed}")
    return given


def _index(key: str, given: Any) -> str | None:
    if given is not None and not (isinstance(given, str) and _INDEX.fullmatch(given)):
        raise InputError(key, given, "must be a slice of a sequence, as features[0:17]")
    return given


def _depth(key: str, given: Any) -> tuple[float, float] | None:
    if given is None:
        return None
    is_pair = isinstance(given, Iterable) and not isinstance(given, str) and len(list(given)) == 2
    numbers = tuple(given) if is_pair else ()
    is_good = is_pair and all(type(number) in (int, float) for number in numbers)
    if not is_good or not 0 <= numbers[0] < numbers[1] <= 1:
        raise InputError(key, given, "must be two rising numbers from 0, the first layer, to 1")
    return float(numbers[0]), float(numbers[1])


def _position(key: str, given: Any) -> str | None:
    if given is not None and given not in POSITIONS:
        raise InputError(key, given, f"must be one of {', '.join(POSITIONS)}")
    return None if given is None else str(given)


def rule_at(place: Place, given: Sequence[Choice]) -> Rule:
    """The first rule that matches.

    Raises:
        InputError: none does; the message names the layer.
    """
    for choice in given:
        if choice.matches(place):
            return choice.rule
    allowed = (
        f"leaves {place.path or 'the network'} ({place.op}) without a rule; a last entry "
        "without matchers, as {rule: zero}, is for all the rest"
    )
    raise InputError(KEY, f"{len(given)} entries", allowed)


def check_paths(given: Sequence[Choice], places: Sequence[Place]) -> None:
    """Refuse a path or an index that names nothing in this network.

    Raises:
        InputError: naming the entry and some paths that there are.
    """
    for choice in given:
        if not any(choice.names(place.path) for place in places):
            word = "path" if choice.path is not None else "index"
            paths = list(dict.fromkeys(place.path for place in places if place.path))
            some = ", ".join(paths if len(paths) <= 8 else [*paths[:4], "...", *paths[-3:]])
            raise InputError(
                f"{choice.key}.{word}",
                getattr(choice, word),
                f"matches no layer of this network; its layers are {some}",
            )

"""A list of rules as it is written, one mapping per entry, checked and converted."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from xai_sweep.core.errors import InputError, unknown_key
from xai_sweep.core.parameters import checked, parameter_types
from xai_sweep.explainers.relevance.engine.composite import (
    INDEX,
    KEY,
    MATCHERS,
    OPS,
    POSITIONS,
    Entry,
)
from xai_sweep.explainers.relevance.engine.rule import Rule, rules

# The composite of Montavon et al. 2019, section 10.3, with depth in place of layer numbers. The
# same list as the preset ``default``.
DEFAULT_RULES: tuple[Mapping[str, Any], ...] = (
    {"position": "first", "op": "conv", "rule": "z_box"},
    {"position": "last", "rule": "zero"},
    {"depth": [0.0, 0.5], "op": "conv", "rule": "gamma", "gamma": 0.25},
    {"op": ["conv", "linear"], "rule": "epsilon", "epsilon": 0.25, "relative": True},
    {"op": "batchnorm", "rule": "abs_z"},
    {"rule": "zero"},
)


def entries(given: object) -> tuple[Entry, ...]:
    """The entries of a list of rules, each a mapping.

    Its key ``rule`` is a rule's name or, in Python, a `Rule`; the others are matchers and the
    rule's parameters.

    Raises:
        InputError: naming the entry, the key, the value and what is allowed.
    """
    if isinstance(given, str):
        allowed = (
            f"must be a list of rules; for the preset take explainer/rules={given} on the command "
            f'line, in Python xai_sweep.config.presets.preset("{given}")'
        )
        raise InputError(KEY, given, allowed)
    if not isinstance(given, list | tuple) or not given:
        raise InputError(KEY, given, "must be a list of mappings, each with a 'rule'")
    return tuple(_entry(f"{KEY}[{number}]", entry) for number, entry in enumerate(given))


def _entry(key: str, entry: Any) -> Entry:
    if not isinstance(entry, Mapping) or "rule" not in entry:
        names = ", ".join(rules())
        raise InputError(key, entry, f"must be a mapping with a 'rule', one of {names}")
    return Entry(
        _rule(key, entry),
        key,
        op=_ops(key, entry.get("op")),
        path=_path(f"{key}.path", entry.get("path")),
        index=_index(f"{key}.index", entry.get("index")),
        depth=_depth(f"{key}.depth", entry.get("depth")),
        position=_position(f"{key}.position", entry.get("position")),
    )


def _rule(key: str, entry: Mapping[str, Any]) -> Rule:
    given = entry["rule"]
    known = rules()
    if not isinstance(given, Rule) and str(given) not in known:
        raise InputError(f"{key}.rule", given, f"must be one of {', '.join(known)}")
    parameters = [] if isinstance(given, Rule) else [*fields(known[given])]
    names = [parameter.name for parameter in parameters]
    for word in entry:
        if word not in ("rule", *MATCHERS, *names):
            raise unknown_key(f"{key}.{word}", entry[word], [*names, *MATCHERS])
    if isinstance(given, Rule):
        return given
    for parameter in parameters:
        is_needed = parameter.default is MISSING and parameter.default_factory is MISSING
        if is_needed and parameter.name not in entry:
            raise InputError(f"{key}.{parameter.name}", None, f"is needed by the rule {given}")
    types = parameter_types(known[given])
    values = {
        name: checked(f"{key}.{name}", entry[name], types[name]) for name in names if name in entry
    }
    try:
        return known[given](**values)
    except InputError as error:
        parameter_name = error.key.rpartition(".")[2]
        raise InputError(f"{key}.{parameter_name}", error.value, error.allowed) from error


def _ops(key: str, given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    ops = tuple(given) if isinstance(given, list | tuple) else (given,)
    if not ops or not all(op in OPS for op in ops):
        raise InputError(f"{key}.op", given, f"must be one or a list of {', '.join(OPS)}")
    return ops


def _path(key: str, given: Any) -> str | None:
    if given is not None and (not isinstance(given, str) or not given):
        raise InputError(key, given, "must be a glob over module paths, such as features.*")
    return given


def _index(key: str, given: Any) -> str | None:
    if given is not None and not (isinstance(given, str) and INDEX.fullmatch(given)):
        raise InputError(key, given, "must be a slice of a sequence, such as features[0:17]")
    return given


def _depth(key: str, given: Any) -> tuple[float, float] | None:
    if given is None:
        return None
    is_pair = isinstance(given, Iterable) and not isinstance(given, str) and len(list(given)) == 2
    numbers = tuple(given) if is_pair else ()
    is_good = is_pair and all(type(number) in (int, float) for number in numbers)
    if not is_good or not 0 <= numbers[0] < numbers[1] <= 1:
        raise InputError(
            key, given, "must be two rising numbers from 0, the first layer, to 1, the last"
        )
    return float(numbers[0]), float(numbers[1])


def _position(key: str, given: Any) -> str | None:
    if given is not None and given not in POSITIONS:
        raise InputError(key, given, f"must be one of {', '.join(POSITIONS)}")
    return None if given is None else str(given)

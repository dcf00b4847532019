"""Parameters whose declared types say what they accept.

An explainer, transform, metric, data set or logger is a frozen dataclass. Its annotations are the
one place that says what a parameter may be, with bounds from `annotated_types`:

    share: Annotated[float, Gt(0), Lt(1)] = 0.05
    reduction: Literal["sum", "absolute_max"] = "sum"
    layer: str | None = None
    batch_size: Annotated[int, Ge(1), EXECUTION_ONLY] = 10
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from inspect import get_annotations
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Union,
    get_args,
    get_origin,
)

from annotated_types import BaseMetadata, Ge, Gt, Interval, Le, Lt

from xai_sweep.core.errors import InputError

_IN_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    NoneType: "null",
}


_LISTS = (tuple, list, Sequence)
_QUOTES = '; a name that looks like a number needs quotes in a yaml file: "2024_05"'


class _ExecutionOnly:
    """The type of `EXECUTION_ONLY`."""


# Marks a parameter that says how something is computed, and changes no number beyond rounding: it
# is in no key and in no title.
EXECUTION_ONLY = _ExecutionOnly()


@dataclass(frozen=True)
class FileOf:
    """Marks text that is the path of a file: keys and titles have its content, not its path.

    Attributes:
        identity: what `identity()` calls the content.
    """

    identity: str


class Declared:
    """Base of frozen dataclasses whose parameters are checked against their declared types.

    Class attributes:
        group: what stands before a parameter's name where it is typed, ``explainer`` for example.
    """

    group: ClassVar[str] = ""

    # Run-time type checkers must leave the check to `__post_init__`, which names the parameter.
    __no_type_check__: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Convert and check every parameter.

        Raises:
            InputError: naming the parameter, its value and what is allowed.
        """
        cls: type = type(self)
        types = parameter_types(cls)
        for field in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            if field.init:
                key = f"{self.group}.{field.name}" if self.group else field.name
                given = getattr(self, field.name)
                object.__setattr__(self, field.name, checked(key, given, types[field.name]))


@cache
def parameter_types(cls: type) -> Mapping[str, Any]:
    """The declared type of every field of a dataclass, bounds included."""
    kinds: dict[str, Any] = {}
    for base in reversed(cls.__mro__):  # `get_type_hints` is empty for such classes
        kinds |= get_annotations(base, eval_str=True)
    return kinds


@cache
def execution_only(cls: type) -> frozenset[str]:
    """The parameters that a dataclass marks with `EXECUTION_ONLY`."""
    if not is_dataclass(cls):
        return frozenset()
    types = parameter_types(cls)
    return frozenset(
        name
        for name in (each.name for each in fields(cls))
        if any(isinstance(extra, _ExecutionOnly) for extra in get_args(types[name])[1:])
    )


def files_named(cls: type, values: Mapping[str, Any]) -> dict[str, str]:
    """Which parameters are the path of a file, and what `identity()` calls its content.

    Text that the declared type has as a word of its own, such as ``default``, is no path.

    Args:
        cls: a dataclass.
        values: its parameters.
    """
    if not is_dataclass(cls):
        return {}
    types = parameter_types(cls)
    return {
        name: mark.identity
        for name, value in values.items()
        for mark in _file_marks(types.get(name), value)
    }


def _file_marks(annotation: Any, value: Any) -> list[FileOf]:
    is_union = isinstance(annotation, UnionType) or get_origin(annotation) is Union
    kinds = get_args(annotation) if is_union else (annotation,)
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    extras = [extra for kind in kinds if get_origin(kind) is Annotated for extra in get_args(kind)]
    is_path = isinstance(value, str) and value not in words
    return [extra for extra in extras if isinstance(extra, FileOf) and is_path]


def checked(key: str, value: Any, annotation: Any) -> Any:
    """A value, converted to its declared type.

    A whole number is converted to a number where one is declared. A number is never converted to
    text: 2024_05 in a yaml file has become 202405 by then, and words of a command line are quoted
    before (`xai_sweep.config.texts`). Nor is a text empty. A type that this module does not know
    accepts any value.

    Args:
        key: as typed on the command line.
        value: what was given.
        annotation: the declared type.

    Raises:
        InputError: the value is of another type or out of bounds.
    """
    allowed = in_words(annotation)
    if not allowed:
        return value
    found, converted = _matched(value, annotation)
    if not found:
        hint = _QUOTES if type(value) in (int, float, bool) and _takes_text(annotation) else ""
        raise InputError(key, value, f"must be {allowed}{hint}")
    return converted


def in_words(annotation: Any) -> str:
    """What a declared type accepts, in words; empty for a type that this module does not know."""
    words = []
    choices: list[str] = []
    for kind, bounds in options(annotation):
        known = _words(kind)
        if known is None:
            return ""
        if get_origin(kind) is Literal:
            choices += [str(choice) for choice in get_args(kind)]
        else:
            words.append(known + " and".join(_bound_in_words(bound) for bound in bounds))
    if choices:
        several = len(choices) > 1
        words.insert(0, f"one of {', '.join(choices)}" if several else choices[0])
    return " or ".join(words)


def options(annotation: Any, bounds: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Every type of a union, with its bounds."""
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        yield from options(inner, (*bounds, *_flat(extra)))
    elif isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        for kind in get_args(annotation):
            yield from options(kind, () if kind is NoneType else bounds)
    else:
        yield annotation, bounds


def _takes_text(annotation: Any) -> bool:
    return any(kind is str for kind, _ in options(annotation))


def _flat(extra: Iterable[Any]) -> Iterator[BaseMetadata]:
    for bound in extra:
        if isinstance(bound, Interval):
            yield from bound
        elif isinstance(bound, BaseMetadata):
            yield bound


def _words(kind: Any) -> str | None:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) in _LISTS:
        inner = in_words(get_args(kind)[0])
        return f"a list, each {inner}" if inner else None
    return _IN_WORDS.get(kind)


def _matched(value: Any, annotation: Any) -> tuple[bool, Any]:
    """Whether a declared type accepts a value, and the value converted to it."""
    for kind, bounds in options(annotation):
        found, converted = _converted(value, kind)
        if found and all(_holds(bound, converted) for bound in bounds):
            return True, converted
    return False, value


def _converted(value: Any, kind: Any) -> tuple[bool, Any]:
    """Like `_matched`, for one type of a union and without its bounds."""
    if get_origin(kind) is Literal:
        return any(value == each and type(value) is type(each) for each in get_args(kind)), value
    if get_origin(kind) in _LISTS:
        if not isinstance(value, list | tuple):
            return False, value
        parts = [_matched(each, get_args(kind)[0]) for each in value]
        make = list if get_origin(kind) is list else tuple
        return all(found for found, _ in parts), make(converted for _, converted in parts)
    if kind is float and type(value) in (int, float):
        # NaN, infinity and a whole number too large for a float are all beyond these bounds.
        is_finite = -sys.float_info.max <= value <= sys.float_info.max
        return is_finite, float(value) if is_finite else value
    if kind is str and value == "":
        return False, value
    return type(value) is kind, value


def _holds(bound: Any, value: Any) -> bool:
    match bound:
        case Ge(least):
            return bool(value >= least)
        case Gt(least):
            return bool(value > least)
        case Le(most):
            return bool(value <= most)
        case Lt(most):
            return bool(value < most)
    raise TypeError(f"{bound!r} is not a bound that parameters may declare")


def _bound_in_words(bound: Any) -> str:
    match bound:
        case Ge(least):
            return f" of at least {least}"
        case Gt(least):
            return f" above {least}"
        case Le(most):
            return f" of at most {most}"
        case Lt(most):
            return f" below {most}"
    raise TypeError(f"{bound!r} is not a bound that parameters may declare")

"""Files of class names, in the forms in which people have them.

Either a file says the number of every class, or its names stand in the order of the classes.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

FORMS = (
    "one name per line in the order of the classes, lines like 0: name, a csv file with columns id "
    "and name, or a list of names or names by number in JSON or YAML"
)
# Where names are in a file that holds more: of transformers, timm, ultralytics and torchvision.
_INSIDE = ("id2label", "label_names", "names", "class_names", "classes", "class_to_idx", "label2id")
# What an entry of several parts calls its name and its number.
_NAME = (
    "name",
    "class_name",
    "classname",
    "label",
    "label_name",
    "class",
    "category",
    "description",
)
_NUMBER = ("id", "index", "idx", "class_id", "class_index", "class_idx", "label_id", "number")
# A first line of JSON or YAML, or one of the keys above somewhere in YAML.
_STRUCTURED = re.compile(rf"\A(\s*#.*\n)*\s*([\[{{]|- |---)|^({'|'.join(_INSIDE)}):", re.MULTILINE)
# The first line of a list of names is a heading if it is one of these.
_HEADINGS = frozenset((*_NAME, "names", "classes", "class_names", "labels"))

_NUMBERED = re.compile(r"(\d+)(?:\s*[:;,|=]\s*|\s+[-–]\s+|[.)]?\s+)(\S.*)")
_NUMBER_LAST = re.compile(r"(.*[^\s,;:|=])\s*[\s,;:|=]\s*(\d+)")
_SYNSET = re.compile(r"n\d{8}[\s,]+(?!\d+\s)(\S.*)")
_ANY_SYNSET = re.compile(r"n\d{8}\b.+")


class NoNamesError(ValueError):
    """A text that holds no class names; the message says why."""


def names_in(text: str) -> list[str]:
    """The class names in a text, by the number of the class.

    Raises:
        NoNamesError: they are in none of the `FORMS`, or numbers are missing or repeated.
    """
    if _STRUCTURED.search(text):
        return _of_structure(_parsed(text))
    lines = [line.strip() for line in text.splitlines() if not line.startswith("#")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise NoNamesError("holds no names")
    try:
        return _of_table(lines) or _of_lines(lines)
    except csv.Error as error:
        raise NoNamesError(f"is no csv file ({error})") from error


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.load(text, yaml.BaseLoader)  # which makes text of everything
    except (yaml.YAMLError, RecursionError) as error:
        raise NoNamesError("is neither JSON nor YAML") from error


def _of_structure(found: Any) -> list[str]:
    """Names from lists and dictionaries."""
    if isinstance(found, Mapping):
        inside = [key for key in _INSIDE if isinstance(found.get(key), Mapping | list)]
        if inside:
            return _of_structure(found[inside[0]])
        if all(map(_is_number, found.values())) and not all(map(_is_number, found)):
            return _in_order([(str(number), str(name)) for name, number in found.items()])
        return _in_order([(str(number), _name(value)) for number, value in found.items()])
    if not isinstance(found, list) or not found:
        raise NoNamesError("holds no names")
    numbers = [_part(entry, _NUMBER) if isinstance(entry, Mapping) else None for entry in found]
    if None not in numbers:
        return _in_order([(str(n), _name(entry)) for n, entry in zip(numbers, found, strict=True)])
    return [_name(entry) for entry in found]


def _name(entry: Any) -> str:
    """The name in an entry: itself, the last of ["n01440764", "tench"], or its part called so."""
    if isinstance(entry, Mapping):
        entry = _part(entry, _NAME)
    elif isinstance(entry, list) and len(entry) == 2:
        entry = entry[1]
    if not isinstance(entry, str | int) or not str(entry).strip():
        raise NoNamesError(f"has no name in {entry!r}")
    return str(entry).strip()


def _part(entry: Mapping[Any, Any], called: Sequence[str]) -> Any:
    return next((entry[name] for name in called if name in entry), None)


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | str) and str(value).isdecimal()


def _of_table(lines: Sequence[str]) -> list[str] | None:
    """Names from a csv file with a heading; None if the lines are none."""
    separator = max(",;\t", key=lines[0].count)
    heading, *rows = csv.reader(filter(None, lines), delimiter=separator)
    names = [cell.strip().lower() for cell in heading]
    numbers = [
        names.index(each)
        for each in (*_NUMBER, *_NAME)
        if each in names
        and all(len(row) > 1 and _is_number(row[names.index(each)].strip()) for row in rows)
    ]
    if len(names) < 2 or not numbers or not rows:
        return None
    others = [name for name in names if name != names[numbers[0]]]
    named = [each for each in _NAME if each in others] or others
    if len(named) > 1 and len(others) > 1 and named == others:
        raise NoNamesError(f"has several columns, and none is called {_NAME[0]}")
    column = names.index(named[0])
    return _in_order([(row[numbers[0]].strip(), row[column].strip()) for row in rows])


def _of_lines(lines: Sequence[str]) -> list[str]:
    filled = [line for line in lines if line]
    numbered = [_NUMBERED.fullmatch(line) for line in filled]
    if all(numbered):
        return _in_order([(found[1], _unquoted(found[2])) for found in numbered if found])
    if numbered[0] and sum(map(bool, numbered)) > len(filled) / 2:
        odd = next(line for line, found in zip(filled, numbered, strict=True) if not found)
        raise NoNamesError(f"has a line without a number: {odd!r}")
    if "" in lines:
        raise NoNamesError(f"has an empty line, number {lines.index('') + 1}")
    synsets = [_SYNSET.fullmatch(line) for line in lines]
    if all(synsets):
        return [found[1] for found in synsets if found]
    if all(map(_ANY_SYNSET.fullmatch, lines)):
        raise NoNamesError("has synsets with numbers, which are those of another order")
    if lines[0].lower() in _HEADINGS and len(lines) > 1:
        lines = lines[1:]
    return _with_numbers_last(lines) or [_unquoted(line) for line in lines]


def _with_numbers_last(lines: Sequence[str]) -> list[str] | None:
    """Names from lines like ``name 0``; None if the numbers are parts of names."""
    found = [_NUMBER_LAST.fullmatch(line) for line in lines]
    names = {int(each[2]): _unquoted(each[1]) for each in found if each}
    if sorted(names) != list(range(len(lines))) or len(set(names.values())) < len(lines):
        return None
    return [names[number] for number in range(len(lines))]


def _in_order(numbered: Sequence[tuple[str, str]]) -> list[str]:
    """Names by their numbers, which begin with 0 and leave none out."""
    if not numbered:
        raise NoNamesError("holds no names")
    names: dict[int, str] = {}
    for number, name in numbered:
        if not _is_number(number) or not name:
            raise NoNamesError(f"has no number or no name in {f'{number}: {name}'!r}")
        if int(number) in names:
            raise NoNamesError(f"has the number {number} twice")
        names[int(number)] = name
    missing = next(number for number in range(len(names) + 1) if number not in names)
    if missing < len(names):
        first = "; the first class of a network is 0" if missing == 0 else ""
        raise NoNamesError(f"has no number {missing}{first}")
    return [names[number] for number in sorted(names)]


def _unquoted(name: str) -> str:
    """A name without the quotes and the comma of a line of code."""
    bare = name.rstrip(",").strip()
    is_quoted = len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\""
    return bare[1:-1] if is_quoted else name

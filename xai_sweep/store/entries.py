"""The metric entries of a cell: which are wanted, which are there, and whether they are the same.

An entry is a name of the group `metric` together with its resolved configuration. Entries do not
decide which cell it is, so a complete cell can be extended by further ones.
"""

from collections.abc import Mapping
from typing import Any

from xai_sweep.core.errors import InputError

Entries = Mapping[str, Mapping[str, Any]]


def missing_entries(cell: str, there: Entries, wanted: Entries) -> set[str]:
    """The wanted entries that are not there.

    Args:
        cell: the cell, as a message names it.
        there: the entries of the cell.
        wanted: those that are wanted.

    Raises:
        InputError: an entry is there with another configuration.
    """
    for name in wanted.keys() & there.keys():
        _check_same(cell, name, there[name], wanted[name])
    return set(wanted.keys() - there.keys())


def _check_same(cell: str, name: str, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = [key for key in {**wanted, **there} if wanted.get(key) != there.get(key)]
    if not differing:
        return
    key = differing[0]
    held = ", ".join(f"{each}={_as_typed(there.get(each))}" for each in differing)
    raise InputError(
        f"metric.{name}.{key}",
        wanted.get(key),
        f"the complete cell {cell} holds {name} computed with {held}; "
        "ask for the same, or choose another results folder",
    )


def _as_typed(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)

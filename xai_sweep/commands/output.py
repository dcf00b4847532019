"""What commands print: tables for people, JSON for programs."""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document; numbers that are not finite are null."""
    print(json.dumps(_plain(document), indent=2, allow_nan=False))


@contextmanager
def no_text() -> Iterator[None]:
    """Send what is printed inside to stderr, so that stdout holds a JSON document alone."""
    with redirect_stdout(sys.stderr):
        yield


def print_table(table: RenderableType, width: int) -> None:
    """Print a table, in a file at a width that cuts nothing off."""
    console = Console()
    Console(width=None if console.is_terminal else width).print(table)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value

"""Cells of different columns as one table: a column that a cell does not have is null there."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from xai_sweep.core.errors import InputError
from xai_sweep.store.manifest import read_columns
from xai_sweep.store.schema import FIXED, SCHEMA_VERSION, VERSION_KEY, schema
from xai_sweep.store.shards import shard_schema
from xai_sweep.store.store import other_version


def fields_of_manifest(content: Mapping[str, Any]) -> list[pa.Field]:
    """The columns beyond the spine of a finished cell."""
    return [field for field in schema(read_columns(content)) if field.name not in FIXED]


def fields_of_shard(shard: Path) -> list[pa.Field]:
    """The columns beyond the spine of a file.

    Raises:
        InputError: it holds rows of another schema version.
        OSError, ValueError: it cannot be read.
    """
    found = shard_schema(shard)
    version = (found.metadata or {}).get(VERSION_KEY, b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise InputError("path", shard, other_version("this file has", version))
    return [field for field in found if field.name not in FIXED]


def united(sources: Iterable[tuple[Path, Iterable[pa.Field]]]) -> pa.Schema:
    """The spine, and every column that any source has.

    Args:
        sources: a cell or file, and its columns beyond the spine.

    Raises:
        InputError: a column has different types in two of them.
    """
    found: dict[str, tuple[pa.Field, Path]] = {}
    for path, fields in sources:
        for field in fields:
            first, where = found.setdefault(field.name, (field, path))
            if first.type != field.type:
                allowed = (
                    f"must hold the same type of `{field.name}` everywhere; it is {first.type} in "
                    f"{where} and {field.type} here: load them apart"
                )
                raise InputError("path", path, allowed)
    spine = schema([])
    return pa.schema([*spine, *(field for field, _ in found.values())], metadata=spine.metadata)

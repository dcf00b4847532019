"""Rows of several shards as one stream, and a hash of it that ignores how it is cut into files."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xai_sweep.store.shards import shard_schema

# Rows that are in memory at once.
_ROWS = 100_000


def common_schema(shards: Sequence[Path]) -> pa.Schema:
    """The schema of the shards of a complete cell.

    Raises:
        ValueError: they do not all have the same one.
    """
    first, *others = (shard_schema(shard) for shard in shards)
    if not all(first.equals(other) for other in others):
        raise ValueError("its shards have different columns")
    return first


def stream(shards: Iterable[Path], common: pa.Schema) -> Iterator[pa.Table]:
    """The rows of all shards in order, piece by piece.

    Raises:
        OSError: a page does not match its checksum.
    """
    for shard in shards:
        with pq.ParquetFile(shard, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_ROWS):
                yield pa.Table.from_batches([batch]).select(common.names).cast(common)


class ContentHash:
    """SHA-256 of rows in their order: names of columns, every value, null and bit of a NaN.

    Attributes:
        rows: how many there were.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._parts: dict[str, Any] = {}

    def update(self, piece: pa.Table) -> None:
        """Add the next rows."""
        self.rows += len(piece)
        for name, column in zip(piece.column_names, piece.columns, strict=True):
            for kind, content in _plain(column):
                self._parts.setdefault(f"{name} {kind}", hashlib.sha256()).update(content)

    def hexdigest(self) -> str:
        """The hash of the rows so far."""
        lines = [f"{name} {part.hexdigest()}\n" for name, part in sorted(self._parts.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def _plain(column: pa.ChunkedArray) -> Iterator[tuple[str, bytes]]:
    """A column as bytes that do not depend on its chunks."""
    yield "valid", column.is_valid().to_numpy().astype(np.uint8).tobytes()
    if pa.types.is_string(column.type):
        filled = column.fill_null("")
        yield "length", pc.binary_length(filled).to_numpy().tobytes()
        yield "text", "".join(filled.to_pylist()).encode()
    else:
        zero = pa.scalar(0).cast(column.type)
        yield str(column.type), column.fill_null(zero).to_numpy().tobytes()

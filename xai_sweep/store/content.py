"""Rows of several shards as one stream, and a hash of it that ignores how it is cut into files."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xai_sweep.store.schema import metric_columns, schema

# Rows that are in memory at once.
_ROWS = 100_000


def common_schema(shards: Sequence[Path]) -> pa.Schema:
    """The schema of all shards together."""
    names = [name for shard in shards for name in pq.read_schema(shard).names]
    return schema(metric_columns(dict.fromkeys(names)))


def stream(shards: Iterable[Path], common: pa.Schema) -> Iterator[pa.Table]:
    """The rows of all shards in order, piece by piece; a metric that a shard lacks is null.

    Raises:
        OSError: a page does not match its checksum.
    """
    for shard in shards:
        with pq.ParquetFile(shard, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_ROWS):
                piece = pa.Table.from_batches([batch])
                for field in common:
                    if field.name not in piece.column_names:
                        piece = piece.append_column(field, pa.nulls(len(piece), field.type))
                yield piece.select(common.names).cast(common)


class ContentHash:
    """SHA-256 of rows in their order: names of columns, every value, null and bit of a NaN.

    Attributes:
        rows: how many there were.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._parts: dict[str, Any] = {}

    def update(self, piece: pa.Table) -> None:
        """Take the next rows."""
        self.rows += len(piece)
        for name, column in zip(piece.column_names, piece.columns, strict=True):
            for kind, content in _plain(column):
                self._parts.setdefault(f"{name} {kind}", hashlib.sha256()).update(content)

    def hexdigest(self) -> str:
        """The hash of what was taken so far."""
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

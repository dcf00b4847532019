"""Which shards of an earlier job can be used again."""

import logging
from collections.abc import Set
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xai_sweep.store.atomic import replacing
from xai_sweep.store.entries import Entries
from xai_sweep.store.schema import FIXED, conforming, metrics_of
from xai_sweep.store.shards import image_ids, is_intact, shard_schema

log = logging.getLogger(__name__)


def usable_images(
    shard: Path, heatmaps: Path, metrics: Entries, columns: Set[str]
) -> set[str] | None:
    """The images of a shard that need not be computed again; None, with a warning, if all must be.

    Args:
        shard: the file.
        heatmaps: the file of heatmaps that belongs to it, which may not exist.
        metrics: the metric entries that it must hold in this configuration.
        columns: the columns beyond the spine that it must have.
    """
    images = image_ids(shard) if is_intact(heatmaps) else None
    if images is None:
        log.warning("%s is half-written or damaged: its images are computed again", shard)
        return None
    found = shard_schema(shard)
    there = metrics_of(found)
    same = all(there.get(name) == dict(node) for name, node in metrics.items())
    if not (same and columns <= set(found.names)):
        log.warning("%s lacks columns that are wanted: its images are computed again", shard)
        return None
    return images


def leave_out_other_columns(shard: Path, metrics: Entries, columns: Set[str]) -> None:
    """Rewrite a shard without columns that the other shards of its cell will not have."""
    if set(shard_schema(shard).names) <= FIXED | columns:
        return
    rows = pq.ParquetFile(shard).read()
    rows = rows.select([name for name in rows.column_names if name in FIXED | columns])
    with replacing(shard) as file:
        write_rows(conforming(rows, metrics), file)


def write_rows(rows: pa.Table, file: Any) -> None:
    """Write the content of a shard."""
    pq.write_table(rows, file, compression="zstd", write_page_checksum=True)

"""Many small shards of a complete cell as one file, without loss at any moment.

The merged file is written beside the others under a hidden name, read back and compared by number
of rows and content. Then it gets its name, the manifest is replaced by one that lists it alone, and
the old shards are removed, in this order. If the process is killed before the manifest is
replaced, no manifest lists the merged file; if it is killed later, none lists the old shards.
Both are leftovers, which the next `compact` and `prune` remove and `load` never reads. A reader of
`**/*.parquet` without manifests sees rows twice between the first and the last of these steps, for
some milliseconds. Shards of an extension that was begun are left alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from xai_sweep.store.atomic import as_json, replacing
from xai_sweep.store.cell_folder import MANIFEST, CellFolder
from xai_sweep.store.content import ContentHash, common_schema, stream
from xai_sweep.store.shards import described
from xai_sweep.store.sharing.lease import Lease, Leases
from xai_sweep.store.sharing.lease_file import SILENT_SECONDS, Holder
from xai_sweep.store.store import cell_folders
from xai_sweep.store.unlisted import unlisted_shards

_ROW_GROUP = 200_000


@dataclass(frozen=True)
class Compacted:
    """What became of one cell.

    Attributes:
        name: of its folder.
        before, after: number of shards.
        bytes_before, bytes_after: their size.
        skipped: why it was left as it is; empty otherwise.
    """

    name: str
    before: int = 0
    after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    skipped: str = ""


def compact(results: Path, lease_seconds: float = SILENT_SECONDS) -> Iterator[Compacted]:
    """Merge the shards of every complete cell that has several.

    Yields:
        What became of each cell that had several shards.

    Raises:
        InputError: a cell is of another schema version.
        OSError: the folder cannot be written.
    """
    with Leases(lease_seconds) as leases:
        for cell in cell_folders(results):
            if cell.manifest() is None or len(cell.shards()) < 2:
                continue
            lease = leases.acquire(cell.path)
            if isinstance(lease, Holder):
                yield Compacted(cell.path.name, skipped=f"in use by {lease.who}")
                continue
            yield _compact(CellFolder(cell.path, lease), lease)
            leases.release(lease)


def _compact(cell: CellFolder, lease: Lease) -> Compacted:
    name = cell.path.name
    manifest = cell.manifest()
    if manifest is None:  # another job began it again meanwhile
        return Compacted(name, skipped="not complete")
    for leftover in unlisted_shards(cell, manifest)[0]:
        leftover.unlink()
    listed: list[dict[str, Any]] = manifest["shards"]
    shards = [cell.path / shard["name"] for shard in listed]
    size = sum(shard["bytes"] for shard in listed)
    if len(shards) < 2:
        return Compacted(name, len(shards), len(shards), size, size)
    for shard, entry in zip(shards, listed, strict=True):
        if described(shard, entry["rows"]) != entry:
            return Compacted(name, skipped=f"{shard.name} is damaged, see xai-sweep verify")
    merged = cell.next_shard()
    with replacing(cell.path / MANIFEST) as manifest_file, replacing(merged) as file:
        rows, content = _merge(shards, file)
        of_merged = described(Path(file.name), rows) | {"name": merged.name}
        changed = {"rows": rows, "content": content, "shards": [of_merged]}
        manifest_file.write(as_json({**manifest, **changed}))
        lease.check()
    for shard in shards:
        shard.unlink()
    return Compacted(name, len(shards), 1, size, merged.stat().st_size)


def _merge(shards: Sequence[Path], file: BinaryIO) -> tuple[int, str]:
    """Write the rows of all shards, and read them back.

    Returns:
        How many rows there are, and the hash of their content.

    Raises:
        RuntimeError: reading the file back gives other rows.
    """
    common = common_schema(shards)
    before = ContentHash()
    waiting: list[pa.Table] = []
    with pq.ParquetWriter(file, common, compression="zstd", write_page_checksum=True) as writer:
        for piece in stream(shards, common):
            before.update(piece)
            waiting.append(piece)
            if sum(map(len, waiting)) >= _ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    file.flush()
    after = ContentHash()
    for piece in stream([Path(file.name)], common):
        after.update(piece)
    if (before.rows, before.hexdigest()) != (after.rows, after.hexdigest()):
        raise RuntimeError(f"{file.name}: reading it back gives other rows than were written")
    return after.rows, after.hexdigest()

"""What is wrong in a results folder, file by file; every row is accounted for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xai_sweep.store.atomic import read_json
from xai_sweep.store.cell_folder import MANIFEST, CellFolder
from xai_sweep.store.content import ContentHash, common_schema, stream
from xai_sweep.store.schema import PRIMARY_KEY, metric_columns
from xai_sweep.store.shards import described, image_ids, is_intact
from xai_sweep.store.sharing.lease import Leases
from xai_sweep.store.sharing.lease_file import SILENT_SECONDS, Holder, holder, server_time
from xai_sweep.store.store import cell_folders
from xai_sweep.store.unlisted import unlisted_shards


@dataclass(frozen=True)
class Fault:
    """Something that is wrong.

    Attributes:
        cell: name of the cell's folder.
        file: name of the file; empty if it is the cell as a whole.
        what: in a few words.
    """

    cell: str
    file: str
    what: str


@dataclass
class Verdict:
    """What was checked, and what was found.

    Attributes:
        complete, unfinished, running: numbers of cells.
        rows: rows of the complete ones.
        faults: what is wrong.
    """

    complete: int = 0
    unfinished: int = 0
    running: int = 0
    rows: int = 0
    faults: list[Fault] = field(default_factory=list)


def verify(results: Path, lease_seconds: float = SILENT_SECONDS) -> Verdict:
    """Read everything: hashes of all shards, heatmaps, each row of a cell exactly once.

    Cells that a job holds are left out. Nothing is changed.

    Raises:
        InputError: a cell is of another schema version.
    """
    verdict = Verdict()
    now = server_time(results)
    for cell in cell_folders(results):
        held = holder(cell.path)
        if held is not None and not held.is_dead(now, lease_seconds):
            verdict.running += 1
        elif (cell.path / MANIFEST).exists():
            verdict.complete += 1
            rows = (read_json(cell.path / MANIFEST) or {}).get("rows")
            verdict.rows += rows if isinstance(rows, int) else 0
            verdict.faults += _complete(cell)
        else:
            verdict.unfinished += 1
            verdict.faults += _unfinished(cell)
    return verdict


def repair(results: Path, verdict: Verdict, lease_seconds: float = SILENT_SECONDS) -> list[str]:
    """Remove what is wrong, so that the same sweep command computes it again.

    Damaged shards are removed, and the manifests of their cells, which then count as unfinished:
    only the images of those shards are computed again.

    Returns:
        Cells that were left alone, because a job holds them by now.
    """
    left = []
    with Leases(lease_seconds) as leases:
        for name in sorted({fault.cell for fault in verdict.faults}):
            cell = next(cell for cell in cell_folders(results) if cell.path.name == name)
            lease = leases.acquire(cell.path)
            if isinstance(lease, Holder):
                left.append(name)
                continue
            files = {fault.file for fault in verdict.faults if fault.cell == name}
            manifest = _listing(cell)
            beside = {each.name for found in unlisted_shards(cell, manifest) for each in found}
            if not files <= beside:
                (cell.path / MANIFEST).unlink(missing_ok=True)
            # Damaged heatmaps stay: the next run removes them together with their shard.
            for shard in cell.shards():
                if shard.name in files:
                    cell.remove(shard)
            leases.release(lease)
    return left


def _complete(cell: CellFolder) -> Iterator[Fault]:
    name, manifest = cell.path.name, _listing(cell)
    if manifest is None:
        yield Fault(name, MANIFEST, "cannot be read")
        return
    listed: list[dict[str, Any]] = manifest["shards"]
    damaged = [
        Fault(name, entry["name"], wrong) for entry in listed if (wrong := _wrong(cell, entry))
    ]
    yield from damaged
    unneeded, begun = unlisted_shards(cell, manifest)
    yield from (Fault(name, shard.name, "is not listed in the manifest") for shard in unneeded)
    yield from _unreadable(name, begun)
    for file in cell.heatmaps.all():
        if not is_intact(file):
            yield Fault(name, file.name, "is half-written or damaged")
    if not damaged:
        shards = [cell.path / entry["name"] for entry in listed]
        yield from (Fault(name, "", wrong) for wrong in _wrong_rows(manifest, shards))


def _listing(cell: CellFolder) -> dict[str, Any] | None:
    """The manifest, whether its shards are intact or not; None if it cannot be read."""
    manifest = read_json(cell.path / MANIFEST)
    return manifest if manifest and isinstance(manifest.get("shards"), list) else None


def _unfinished(cell: CellFolder) -> Iterator[Fault]:
    yield from _unreadable(cell.path.name, cell.shards())


def _unreadable(name: str, shards: Sequence[Path]) -> Iterator[Fault]:
    for shard in shards:
        if image_ids(shard) is None:
            yield Fault(name, shard.name, "is half-written or damaged")


def _wrong(cell: CellFolder, entry: Mapping[str, Any]) -> str:
    """What is wrong with a listed shard; empty if nothing is."""
    shard = cell.path / entry["name"]
    if not shard.is_file():
        return "is missing"
    size = shard.stat().st_size
    if size != entry["bytes"]:
        return f"is half-written or damaged: {size} bytes instead of {entry['bytes']}"
    if described(shard, entry["rows"]) != entry:
        return "is damaged: its SHA-256 is not that of the manifest"
    return ""


def _wrong_rows(manifest: Mapping[str, Any], shards: Sequence[Path]) -> Iterator[str]:
    """What is wrong with the rows of undamaged shards taken together."""
    if not shards:
        return
    found = [pq.ParquetFile(shard).read([*PRIMARY_KEY]) for shard in shards]
    rows = pa.concat_tables(found)
    if len(rows) != manifest["rows"]:
        yield f"{len(rows)} rows instead of {manifest['rows']}"
    if "cell" in manifest and set(rows["cell"].unique().to_pylist()) != {manifest["cell"]}:
        yield f"rows of other cells than {manifest['cell']}"
    times = rows.group_by(["image_id", "draw", "rank"]).aggregate([([], "count_all")])
    twice = times.filter(pc.greater(times["count_all"], 1))
    if len(twice):
        first = twice.slice(0, 1).to_pylist()[0]
        example = f"image {first['image_id']}, draw {first['draw']}, rank {first['rank']}"
        yield f"{len(twice)} rows exist more than once, e.g. {example}"
    images = len(rows["image_id"].unique())
    draws, ranks = pc.max(rows["draw"]).as_py() + 1, pc.max(rows["rank"]).as_py()
    if len(times) != images * draws * ranks:
        missing = images * draws * ranks - len(times)
        yield f"{missing} rows are missing: not every image has {draws} draws of {ranks} ranks"
    counted = manifest.get("counts", {}).get("images", images)
    if images != counted:
        yield f"{images} images instead of {counted}"
    yield from _wrong_columns(manifest, shards)


def _wrong_columns(manifest: Mapping[str, Any], shards: Sequence[Path]) -> Iterator[str]:
    try:
        common = common_schema(shards)
    except ValueError as error:
        yield str(error)
        return
    listed = list(manifest["columns"])
    if listed != metric_columns(common.names):
        yield f"columns {', '.join(metric_columns(common.names))} instead of {', '.join(listed)}"
    if "content" in manifest:
        content = ContentHash()
        for piece in stream(shards, common):
            content.update(piece)
        if content.hexdigest() != manifest["content"]:
            yield "the content of its rows is not that of the manifest"

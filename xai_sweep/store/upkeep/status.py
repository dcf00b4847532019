"""How far a sweep is: told from manifests, shards, leases and records of failure alone."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from xai_sweep.store.atomic import read_json
from xai_sweep.store.cell_folder import MANIFEST, CellFolder
from xai_sweep.store.failures import FAILURES
from xai_sweep.store.plans import Planned, read_plans, waiting
from xai_sweep.store.shards import damaged_shards
from xai_sweep.store.sharing.lease_file import SILENT_SECONDS, Holder, holder, server_time
from xai_sweep.store.store import CELLS, check_version

State = Literal["done", "running", "failed", "missing"]
STATES: tuple[State, ...] = ("done", "running", "failed", "missing")


@dataclass(frozen=True)
class CellStatus:
    """How far one cell is.

    Attributes:
        planned: which cell.
        state: `done`: complete; `running`: a living job holds it; `failed`: there is a record of
            its failure; `missing`: none of these, whether begun or not.
        images: images with rows, in files or in the running job's memory.
        failed_images: images of a complete cell that have an error instead of numbers.
        holder: who computes it, if it is running.
    """

    planned: Planned
    state: State
    images: int = 0
    failed_images: int = 0
    holder: Holder | None = None

    @property
    def rate(self) -> float:
        """Images per second; 0 if it is not running or the first image is not there."""
        if self.holder is None or not self.holder.seconds:
            return 0.0
        return (self.images - self.holder.there) / self.holder.seconds


def status(results: Path, wanted: Sequence[Planned] | None = None) -> list[CellStatus]:
    """The state of every cell that is there or planned.

    Args:
        results: the results folder.
        wanted: only these; those that no job has planned are `missing`.

    Raises:
        InputError: a cell is of another schema version.
    """
    plans = read_plans(results)
    now = server_time(results)
    failed = {name for cells in failed_cells(results).values() for name in cells}
    with os.scandir(results / CELLS) as entries:
        found = {
            entry.name: _cell(results, Path(entry), plans.get(entry.name), now, failed)
            for entry in entries
            if entry.is_dir()
        }
    found |= {
        name: CellStatus(plan, "missing") for name, plan in plans.items() if name not in found
    }
    cells = [found[name] for name in sorted(found)]
    if wanted is not None:
        return _matched(cells, wanted)
    later = waiting(results, (cell.planned for cell in cells))
    return [*cells, *(CellStatus(plan, "missing") for plan in later)]


def failed_cells(results: Path) -> dict[Path, list[str]]:
    """Records of failure, and the cells of each; none where a point of the grid has no cell yet."""
    found = {}
    for path in sorted((results / FAILURES).glob("*.json")):
        content = read_json(path)
        cells = content.get("cells") if content else None
        if isinstance(cells, list):
            found[path] = [str(name) for name in cells]
    return found


def left(cells: Sequence[CellStatus]) -> float | None:
    """Seconds until all cells are done if they go on as they do now.

    Returns:
        None if nothing is computed, or it is not known how many images there are.
    """
    rate = sum(cell.rate for cell in cells)
    open_cells = [cell for cell in cells if cell.state in ("running", "missing")]
    if not rate or any(cell.planned.images is None for cell in open_cells):
        return None
    images = sum((cell.planned.images or 0) - cell.images for cell in open_cells)
    return max(0, images) / rate


def _cell(
    results: Path, folder: Path, plan: Planned | None, now: float, failed: Set[str]
) -> CellStatus:
    with os.scandir(folder) as entries:
        names = {entry.name for entry in entries}
    if MANIFEST in names:
        check_version("path", results, folder / MANIFEST)
        manifest = read_json(folder / MANIFEST)
        if manifest is not None and not damaged_shards(folder, manifest):
            return _done(folder.name, manifest)
    planned = plan or Planned(folder.name)
    held = holder(folder) if any(name.startswith("_lease-") for name in names) else None
    begun = any(name.startswith("rows-") for name in names)
    written = _images(CellFolder(folder), planned.ranks * planned.draws) if begun else 0
    if held is not None and not held.is_dead(now, SILENT_SECONDS):
        # Of several processes of one job only their shards tell how far they are.
        images = max(written, held.there + held.images)
        return CellStatus(planned, "running", images, holder=held)
    return CellStatus(planned, "failed" if folder.name in failed else "missing", written)


def _done(name: str, manifest: Mapping[str, Any]) -> CellStatus:
    identity = manifest.get("identity", {})
    question = {key: identity[key] for key in ("ranks", "draws", "numbers") if key in identity}
    counts = manifest.get("counts", {"images": 0, "failed": 0})
    planned = Planned.read(name, {**manifest, **question, "images": counts["images"]})
    return CellStatus(planned, "done", counts["images"], counts["failed"])


def _images(cell: CellFolder, ranks: int) -> int:
    """Images of a cell that was begun; a shard that cannot be read counts nothing."""
    rows = 0
    for shard in cell.shards():
        with suppress(OSError, ValueError):
            rows += pq.read_metadata(shard).num_rows
    return rows // ranks


def _matched(cells: Sequence[CellStatus], wanted: Sequence[Planned]) -> list[CellStatus]:
    """The wanted cells; two sets of images of the same name count as two."""
    known: dict[tuple[str, str], list[CellStatus]] = defaultdict(list)
    for cell in cells:
        known[cell.planned.key].append(cell)
    for of_key in known.values():
        of_key.sort(key=_progress)
    images = {key[0]: cell.planned.images for key, of_key in known.items() for cell in of_key}
    matched: list[CellStatus] = []
    for each in wanted:
        there = known[each.key]
        if there:
            matched.append(there.pop(0))
        else:
            matched.append(CellStatus(replace(each, images=images.get(each.data)), "missing"))
    return matched


def _progress(cell: CellStatus) -> int:
    return STATES.index(cell.state)

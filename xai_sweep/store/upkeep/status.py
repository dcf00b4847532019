"""How far a sweep is, from manifests, shards, leases and records of failure alone."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from xai_sweep.store.atomic import read_json
from xai_sweep.store.cell_folder import MANIFEST, CellFolder
from xai_sweep.store.entries import Entries
from xai_sweep.store.failures import FAILURES
from xai_sweep.store.plans import Planned, asked_for, read_plans, waiting
from xai_sweep.store.shards import damaged_shards
from xai_sweep.store.sharing.lease_file import SILENT_SECONDS, Holder, holder, server_time
from xai_sweep.store.store import CELLS, check_version
from xai_sweep.store.unlisted import unlisted_shards

State = Literal["done", "running", "failed", "missing"]
STATES: tuple[State, ...] = ("done", "running", "failed", "missing")


@dataclass(frozen=True)
class CellStatus:
    """How far one cell is.

    Attributes:
        planned: which cell.
        state: `done`: complete, with every planned metric; `running`: a living job holds it;
            `failed`: there is a record of its failure; `missing`: none of these, begun or not.
        images: images with all rows, in files or in the running job's memory.
        failed_images: images of a complete cell that have an error instead of numbers.
        metrics: the metric entries of a complete cell.
        holder: the job that computes it, if it is running.
    """

    planned: Planned
    state: State
    images: int = 0
    failed_images: int = 0
    holder: Holder | None = None
    metrics: Entries = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Images per second; 0 if it is not running or has no image yet."""
        if self.holder is None or not self.holder.seconds:
            return 0.0
        return (self.images - self.holder.there) / self.holder.seconds


def status(results: Path, wanted: Sequence[Planned] | None = None) -> list[CellStatus]:
    """The state of every cell that exists or is planned.

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
        return _matched(cells, wanted, asked_for(results))
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
        None if no job is running, or it is not known how many images there are.
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
    planned = plan or Planned(folder.name)
    metrics: Entries = {}
    shards: list[Path] = []
    if MANIFEST in names:
        check_version("path", results, folder / MANIFEST)
        manifest = read_json(folder / MANIFEST)
        if manifest is not None and not damaged_shards(folder, manifest):
            done = _done(folder.name, manifest)
            if plan is None or _has(done.metrics, plan.metrics):
                return done
            metrics, planned = done.metrics, replace(plan, images=done.planned.images)
            shards = unlisted_shards(CellFolder(folder), manifest)[1]
    held = holder(folder) if any(name.startswith("_lease-") for name in names) else None
    if not metrics and any(name.startswith("rows-") for name in names):
        shards = CellFolder(folder).shards()
    written = _images(shards, planned)
    if held is not None and not held.is_dead(now, SILENT_SECONDS):
        # Only their shards show how far several processes of one job are.
        images = max(written, held.there + held.images)
        return CellStatus(planned, "running", images, holder=held, metrics=metrics)
    state: State = "failed" if folder.name in failed else "missing"
    return CellStatus(planned, state, written, metrics=metrics)


def _done(name: str, manifest: Mapping[str, Any]) -> CellStatus:
    identity = manifest.get("identity", {})
    question = {key: identity[key] for key in ("ranks", "draws", "numbers") if key in identity}
    counts = manifest.get("counts", {"images": 0, "failed": 0})
    planned = Planned.read(name, {**manifest, **question, "images": counts["images"]})
    return CellStatus(
        planned, "done", counts["images"], counts["failed"], metrics=manifest["metrics"]
    )


def _has(there: Entries, wanted: Entries) -> bool:
    """Whether a complete cell has these entries, in this configuration."""
    return all(there.get(name) == node for name, node in wanted.items())


def _images(shards: Sequence[Path], planned: Planned) -> int:
    """Images of some shards; one that cannot be read counts nothing."""
    rows = 0
    for shard in shards:
        with suppress(OSError, ValueError):
            rows += pq.read_metadata(shard).num_rows
    return rows // (planned.ranks * planned.draws)


def _matched(
    cells: Sequence[CellStatus],
    wanted: Sequence[Planned],
    asked: Mapping[str, Set[tuple[str, str]]],
) -> list[CellStatus]:
    """The wanted cells; two sets of images of the same name count as two."""
    known: dict[tuple[str, str], list[CellStatus]] = defaultdict(list)
    for cell in cells:
        for key in {cell.planned.key} | asked.get(cell.planned.name, set()):
            known[key].append(cell)
    for alike in known.values():
        alike.sort(key=_progress)
    images = {key[0]: cell.planned.images for key, alike in known.items() for cell in alike}
    matched: list[CellStatus] = []
    for each in wanted:
        alike = known[each.key]
        if not alike:
            matched.append(CellStatus(replace(each, images=images.get(each.data)), "missing"))
            continue
        cell = alike.pop(0)
        if cell.state == "done" and not _has(cell.metrics, each.metrics):
            cell = replace(cell, state="missing", images=0, failed_images=0)
        matched.append(cell)
    return matched


def _progress(cell: CellStatus) -> int:
    return STATES.index(cell.state)

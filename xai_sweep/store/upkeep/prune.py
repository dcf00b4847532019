"""Files that killed jobs and older versions left behind, and nothing else."""

import itertools
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xai_sweep.store.atomic import TEMPORARY, read_json
from xai_sweep.store.cell_folder import MANIFEST, CellFolder
from xai_sweep.store.plans import Planned, plan_files
from xai_sweep.store.shards import image_ids
from xai_sweep.store.sharing.lease import Leases
from xai_sweep.store.sharing.lease_file import (
    DRAFTS,
    LEASES,
    SILENT_SECONDS,
    Holder,
    holder,
    server_time,
)
from xai_sweep.store.store import CELLS, cell_folders
from xai_sweep.store.unlisted import unlisted_shards
from xai_sweep.store.upkeep.status import failed_cells


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nothing needs.

    Attributes:
        path: where it is.
        why: in a few words.
    """

    path: Path
    why: str


def leftovers(results: Path, numbers: int, lease_seconds: float = SILENT_SECONDS) -> list[Leftover]:
    """Temporary files, dead leases, orphans, cells of other numbers, plans that are complete.

    Cells that a job holds are left out, and so are young temporary files outside of cells.

    Args:
        results: the results folder.
        numbers: cells of another number cannot be asked for any more, see `xai_sweep.config`.
        lease_seconds: silence after which a job counts as dead.

    Raises:
        InputError: a cell is of another schema version.
    """
    now = server_time(results)
    plans = plan_files(results)
    older = {each.name for cells in plans.values() for each in cells if each.numbers != numbers}
    found: list[Leftover] = []
    complete: dict[str, str] = {}
    for cell in cell_folders(results):
        manifest = cell.manifest()
        if manifest is not None:
            complete[cell.path.name] = manifest.get("request", "")
        held = holder(cell.path)
        if held is None or held.is_dead(now, lease_seconds):
            found += _of_cell(cell, numbers, older)
    for pattern in (TEMPORARY, f"*/{TEMPORARY}", f"_figures/*/{TEMPORARY}"):
        found += [
            Leftover(file, "temporary file of a killed process")
            for file in sorted(results.glob(pattern))
            if now - file.stat().st_mtime > lease_seconds
        ]
    for path, names in failed_cells(results).items():
        if names and complete.keys() >= set(names):
            found.append(Leftover(path, "record of a failure that was fixed"))
    for path, planned in plans.items():
        if any(each.numbers != numbers for each in planned):
            found.append(Leftover(path, "plan of a version that gave other numbers"))
        elif all(_is_done(each, complete) for each in planned):
            found.append(Leftover(path, "plan whose cells are complete"))
    return found


def _is_done(planned: Planned, complete: Mapping[str, str]) -> bool:
    """Whether a cell is complete, and its manifest says all that the plan says.

    A plan that asks for it by another path of the same weights is all that knows of that.
    """
    return complete.get(planned.name) in (planned.request, "")


def remove(
    results: Path, found: Sequence[Leftover], lease_seconds: float = SILENT_SECONDS
) -> list[Leftover]:
    """Remove leftovers.

    Returns:
        Those that were kept, because a job has taken their cell meanwhile.

    Raises:
        OSError: the folder cannot be written.
    """
    kept = []
    with Leases(lease_seconds) as leases:
        for path, of_folder in itertools.groupby(found, lambda each: _folder(results, each)):
            lease = leases.acquire(path) if path.parent == results / CELLS else None
            if isinstance(lease, Holder):
                kept += list(of_folder)
                continue
            for each in of_folder:
                if each.path.is_dir():
                    shutil.rmtree(each.path)
                else:
                    each.path.unlink(missing_ok=True)
            if lease is not None:
                leases.release(lease)
    return kept


def _folder(results: Path, each: Leftover) -> Path:
    return each.path if each.path.parent == results / CELLS else each.path.parent


def _of_cell(cell: CellFolder, numbers: int, older: Collection[str]) -> Iterator[Leftover]:
    content = read_json(cell.path / MANIFEST) or {}
    identity = content.get("identity", {})
    assert isinstance(identity, dict)
    if identity.get("numbers", numbers) != numbers or (not content and cell.path.name in older):
        yield Leftover(cell.path, "cell of a version that gave other numbers")
        return
    for pattern, why in (
        (TEMPORARY, "temporary file of a killed process"),
        (DRAFTS, "temporary file of a killed process"),
        (LEASES, "lease of a dead job"),
    ):
        yield from (Leftover(file, why) for file in sorted(cell.path.glob(pattern)))
    for shard in unlisted_shards(cell, cell.manifest())[0]:
        yield Leftover(shard, "not listed in the manifest")
    if not cell.heatmaps.have_shards():
        images = {name for shard in cell.shards() for name in image_ids(shard) or ()}
        for part in cell.heatmaps.orphans(images):
            yield Leftover(part, "heatmaps of images without rows")

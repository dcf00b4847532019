"""What `xai-sweep status | verify | compact | prune` print."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from xai_sweep.config.cells import NUMBERS
from xai_sweep.store.store import CELLS, opened
from xai_sweep.store.upkeep.compact import compact
from xai_sweep.store.upkeep.prune import leftovers, remove
from xai_sweep.store.upkeep.status import STATES, CellStatus, failed_cells, left, status
from xai_sweep.store.upkeep.verify import repair, verify
from xai_sweep.sweep.plan import grid

_WATCH_SECONDS = 2.0
# Jobs that are named one by one.
_JOBS = 10


def print_status(results: str, words: Sequence[str], watch: bool = False) -> None:
    """Print how far a sweep is; with `watch` again and again, until nothing is left to compute.

    Args:
        results: the results folder.
        words: the overrides of the sweep; without any, all cells that are there or planned.
        watch: until the sweep is over.

    Raises:
        InputError: no results folder, or of another schema version.
    """
    folder = opened(results)
    wanted = grid(words) if words else None
    cells = status(folder, wanted)
    if not watch:
        Console().print(_shown(folder, cells))
        return
    with Live(_shown(folder, cells), auto_refresh=False) as live:
        while any(cell.state in ("running", "missing") for cell in cells):
            time.sleep(_WATCH_SECONDS)
            cells = status(folder, wanted)
            live.update(_shown(folder, cells), refresh=True)


def _shown(folder: Path, cells: Sequence[CellStatus]) -> RenderableType:
    return picture(cells, sum(not names for names in failed_cells(folder).values()))


def picture(cells: Sequence[CellStatus], points: int = 0) -> RenderableType:
    """A table of states by data, model, explainer and transform, and what is going on.

    Args:
        cells: what to show.
        points: points of the grid that failed before their cells were known.
    """
    table = Table()
    for name in ("", "cells", *STATES):
        table.add_column(name, justify="right" if name in STATES else "left", overflow="fold")
    for axis in ("data", "model", "explainer", "transform"):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for cell in cells:
            counts[cell.planned.axes[axis]][cell.state] += 1
        for index, value in enumerate(sorted(counts)):
            table.add_row("" if index else axis, value, *_numbers(counts[value]))
        table.add_section()
    table.add_row("all", str(len(cells)), *_numbers(Counter(cell.state for cell in cells)))
    lines = [*_lines(cells)]
    if points:
        lines.append(f"failed    {points} points of the grid before their cells were known")
    return Group(table, Text("\n".join(lines)))


def _numbers(counts: Counter[str]) -> list[str]:
    return [str(counts[state] or "") for state in STATES]


def _lines(cells: Sequence[CellStatus]) -> Iterator[str]:
    done, failed = sum(cell.images for cell in cells), sum(cell.failed_images for cell in cells)
    known = all(cell.planned.images is not None for cell in cells)
    total = f" of {sum(cell.planned.images or 0 for cell in cells):,}" if known else ""
    yield f"images    {done:,}{total}" + (f", {failed:,} failed" if failed else "")
    if rate := sum(cell.rate for cell in cells):
        yield f"speed     {rate:.3g} images/s"
    if (seconds := left(cells)) is not None:
        yield f"left      {_duration(seconds)}"
    jobs = Counter(cell.holder.who for cell in cells if cell.holder is not None)
    for who, count in jobs.most_common(_JOBS):
        yield f"running   {who}: {count} cell{'s' if count > 1 else ''}"
    if len(jobs) > _JOBS:
        yield f"          and {len(jobs) - _JOBS} more jobs"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    days, hours = minutes // 1440, minutes // 60 % 24
    return (
        f"{days} d {hours} h"
        if days
        else f"{hours} h {minutes % 60} min"
        if hours
        else (f"{minutes} min")
    )


def print_verdict(results: str, mend: bool = False) -> int:
    """Print what is wrong in a results folder.

    Args:
        results: the results folder.
        mend: take away what is wrong, so that the same sweep command computes it again.

    Returns:
        The exit code: 1 if anything is wrong.

    Raises:
        InputError: no results folder, or of another schema version.
    """
    folder = opened(results)
    verdict = verify(folder)
    for fault in verdict.faults:
        print(f"{folder / CELLS / fault.cell / fault.file}: {fault.what}")
    for name in repair(folder, verdict) if mend else ():
        print(f"{folder / CELLS / name}: left alone, a job has it")
    print(
        f"{verdict.complete} complete cells, {verdict.rows:,} rows, "
        f"{len(verdict.faults) or 'no'} faults; not looked into: {verdict.running} running, "
        f"{verdict.unfinished} unfinished cells"
    )
    if verdict.faults:
        done = "what was damaged is gone" if mend else "xai-sweep verify --repair takes them away"
        print(f"{done}; the same sweep command computes what is missing")
    return 1 if verdict.faults else 0


def print_compaction(results: str) -> None:
    """Merge the shards of every complete cell, and print what became of them.

    Raises:
        InputError: no results folder, or of another schema version.
        OSError: it cannot be written.
    """
    files = size = files_after = size_after = 0
    for cell in compact(opened(results)):
        if cell.skipped:
            print(f"{cell.name}: left as it is, {cell.skipped}")
        files, size = files + cell.before, size + cell.bytes_before
        files_after, size_after = files_after + cell.after, size_after + cell.bytes_after
    print(f"{files} files of {size:,} bytes are now {files_after} of {size_after:,} bytes")


def print_leftovers(results: str, sure: bool = False) -> None:
    """Print what nobody needs, and remove it if sure.

    Raises:
        InputError: no results folder, or of another schema version.
        OSError: it cannot be written.
    """
    folder = opened(results)
    found = leftovers(folder, NUMBERS)
    for each in found:
        print(f"{each.path}: {each.why}")
    if not found:
        print("nothing is left over")
    elif sure:
        kept = remove(folder, found)
        print(f"{len(found) - len(kept)} removed" + (f", {len(kept)} in use" if kept else ""))
    else:
        print(f"{len(found)} leftovers: xai-sweep prune --yes {results} removes them")

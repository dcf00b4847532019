"""`xai-sweep status`: done, running, failed and missing cells of a sweep."""

import time
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from xai_sweep.commands.output import print_json
from xai_sweep.commands.parsing import Commands, add_command, add_json
from xai_sweep.commands.words import with_controls
from xai_sweep.core.errors import InputError

if TYPE_CHECKING:
    from xai_sweep.store.plans import Planned
    from xai_sweep.store.upkeep.status import CellStatus

_WATCH_SECONDS = 2.0
# Jobs that are named one by one.
_JOBS = 10
_DETAILS = """With the words of a sweep behind RESULTS, for example -m explainer=lrp,lime, the cells
of that sweep; without any, all cells that are there or planned.

Keys of --json:
  results            the folder
  counts             cells by state: done, running, failed, missing
  images             images with rows, in all cells
  images_planned     images of all cells; null if not known
  images_failed      images that have an error instead of numbers
  images_per_second  of all running jobs
  seconds_left       at this speed; null if not known
  failed_points      points of the grid that failed before their cells were known
  cells              of each: name (of its folder, "" if there is none yet), data, model, explainer,
                     transform, parameter, magnitude, state, images, images_planned,
                     images_failed, images_per_second, holder (the job that computes it, or null)"""


def add_parser(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add_command(
        commands,
        "status",
        "[--watch | --json] RESULTS [key=value ...]",
        "done, running, failed and missing cells of a sweep",
        main,
        details=_DETAILS,
        composes=True,
    )
    parser.add_argument("results", metavar="RESULTS", help="a results folder")
    parser.add_argument("words", nargs="*", metavar="key=value", help="the words of the sweep")
    parser.add_option("--watch", action="store_true", help="until nothing is left to compute")
    add_json(parser)


def main(args: Namespace) -> int:
    """Print how far a sweep is; with ``--watch`` again and again.

    Raises:
        InputError: no results folder, or of another schema version.
    """
    from xai_sweep.store.store import opened
    from xai_sweep.store.upkeep.status import status
    from xai_sweep.sweep.plan import grid

    if args.watch and args.json:
        raise InputError("status", "--watch --json", "must be one of the two")
    folder = opened(args.results)
    wanted: list[Planned] | None = grid(with_controls(args.words)) if args.words else None
    cells = status(folder, wanted)
    if args.json:
        print_json(_document(folder, cells))
    elif not args.watch:
        Console().print(_shown(folder, cells))
    else:
        with Live(_shown(folder, cells), auto_refresh=False) as live:
            while any(cell.state in ("running", "missing") for cell in cells):
                time.sleep(_WATCH_SECONDS)
                cells = status(folder, wanted)
                live.update(_shown(folder, cells), refresh=True)
    return 0


def _document(folder: Path, cells: "Sequence[CellStatus]") -> dict[str, Any]:
    from xai_sweep.store.upkeep.status import STATES, left

    states = Counter(cell.state for cell in cells)
    return {
        "results": folder,
        "counts": {state: states[state] for state in STATES},
        "images": sum(cell.images for cell in cells),
        "images_planned": _planned(cells),
        "images_failed": sum(cell.failed_images for cell in cells),
        "images_per_second": sum(cell.rate for cell in cells),
        "seconds_left": left(cells),
        "failed_points": _failed_points(folder),
        "cells": [
            {
                "name": cell.planned.name,
                **cell.planned.axes,
                "parameter": cell.planned.parameter,
                "magnitude": cell.planned.magnitude,
                "state": cell.state,
                "images": cell.images,
                "images_planned": cell.planned.images,
                "images_failed": cell.failed_images,
                "images_per_second": cell.rate,
                "holder": None if cell.holder is None else cell.holder.who,
            }
            for cell in cells
        ],
    }


def _planned(cells: "Sequence[CellStatus]") -> int | None:
    """Images of all cells; None if it is not known of some."""
    planned = [cell.planned.images for cell in cells]
    known = [images for images in planned if images is not None]
    return sum(known) if len(known) == len(planned) else None


def _failed_points(folder: Path) -> int:
    from xai_sweep.store.upkeep.status import failed_cells

    return sum(not names for names in failed_cells(folder).values())


def _shown(folder: Path, cells: "Sequence[CellStatus]") -> RenderableType:
    """A table of states by data, model, explainer and transform, and what is going on."""
    from xai_sweep.store.upkeep.status import STATES

    def numbers(counts: Counter[str]) -> list[str]:
        return [str(counts[state] or "") for state in STATES]

    table = Table()
    for name in ("", "cells", *STATES):
        table.add_column(name, justify="right" if name in STATES else "left", overflow="fold")
    for axis in ("data", "model", "explainer", "transform"):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for cell in cells:
            counts[cell.planned.axes[axis]][cell.state] += 1
        for index, value in enumerate(sorted(counts)):
            table.add_row("" if index else axis, value, *numbers(counts[value]))
        table.add_section()
    table.add_row("all", str(len(cells)), *numbers(Counter(cell.state for cell in cells)))
    lines = [*_lines(cells)]
    if points := _failed_points(folder):
        lines.append(f"failed    {points} points of the grid before their cells were known")
    return Group(table, Text("\n".join(lines)))


def _lines(cells: "Sequence[CellStatus]") -> Iterator[str]:
    from xai_sweep.store.upkeep.status import left

    done, failed = sum(cell.images for cell in cells), sum(cell.failed_images for cell in cells)
    planned = _planned(cells)
    total = "" if planned is None else f" of {planned:,}"
    yield f"images    {done:,}{total}" + (f", {failed:,} failed" if failed else "")
    if rate := sum(cell.rate for cell in cells):
        yield f"speed     {rate:.3g} images/s"
    if (seconds := left(cells)) is not None:
        yield f"left      {duration(seconds)}"
    jobs = Counter(cell.holder.who for cell in cells if cell.holder is not None)
    for who, count in jobs.most_common(_JOBS):
        yield f"running   {who}: {count} cell{'s' if count > 1 else ''}"
    if len(jobs) > _JOBS:
        yield f"          and {len(jobs) - _JOBS} more jobs"


def duration(seconds: float) -> str:
    """Seconds in words, to the minute or the hour."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"

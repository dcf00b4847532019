"""A job without a network: it writes cells as a sweep does.

For tests that run it in processes of their own and kill them.
"""

import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xai_sweep.core.columns import Column
from xai_sweep.store.entries import Entries
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.schema import schema
from xai_sweep.store.sharing import lease, lease_file
from xai_sweep.store.sharing import turns as turns_of
from xai_sweep.store.store import Store
from xai_sweep.store.writer import CellWriter

CELLS = tuple("abcdef")
IMAGES = tuple(f"{number:02d}.png" for number in range(9))
RANKS = 2
ENTRIES = {"rmse": {"_target_": "metrics.Rmse"}}
_KINDS = {"string": "x", "bool": True}


def rows_of(cell: str, image: str) -> list[dict[str, object]]:
    """Rows that are the same whoever computes them."""
    columns = {field.name: _KINDS.get(str(field.type), 1) for field in schema([])}
    columns |= {"cell": cell, "image_id": image, "draw": 0, "error": None}
    score = random.Random(f"{cell} {image}").random()
    return [
        columns | {"rank": rank, "rmse": score * rank, "ssim": score / rank}
        for rank in range(1, RANKS + 1)
    ]


def heatmaps_of(cell: str, image: str) -> Heatmaps:
    """Heatmaps that are the same whoever computes them."""
    generator = np.random.default_rng(list(f"{cell} {image}".encode()))
    maps = generator.normal(size=(1, RANKS, 4, 4)).astype(np.float32)
    photo = generator.integers(0, 256, (1, 4, 4, 3), dtype=np.uint8)
    score = random.Random(f"{cell} {image}").random()
    return Heatmaps((image,), np.array([score], np.float32), maps, -maps, photo, 255 - photo)


def job(
    results: Path,
    host: str = "",
    seconds: float = 1.0,
    pause: float = 0.002,
    keep: int | None = 3,
    entries: Entries = ENTRIES,
) -> None:
    """Compute all cells that are missing, slowly.

    Args:
        results: the results folder.
        host: if given, a name of the machine that no other job has.
        seconds: without a heartbeat for so long a job counts as dead.
        pause: what an image takes.
        keep: heatmaps that are kept of each cell.
        entries: the metrics that are wanted; a column each.
    """
    if host:
        for module in (lease, lease_file):
            module.machine = lambda: host  # type: ignore[assignment]
    turns_of._LOOK_SECONDS = 0.05
    store = Store(results)
    pairs = [CELLS[at : at + 2] for at in range(0, len(CELLS), 2)]
    random.shuffle(pairs)
    for pair in pairs:
        wanted = dict.fromkeys(pair, entries)
        for group in turns_of.turns(store, wanted, seconds):
            compute(store, group, pause, keep, entries)


def compute(
    store: Store,
    cells: Sequence[str],
    pause: float,
    keep: int | None,
    entries: Entries = ENTRIES,
) -> None:
    """What a job does with the cells that it got."""
    writers = {}
    for name in cells:
        folder = store.cell(name)
        metrics = folder.union(entries)
        columns = [Column(entry, "A metric.") for entry in sorted(metrics)]
        done = folder.begin(metrics, set(metrics))
        writers[name] = CellWriter(folder, done, {}, columns, 2, keep, metrics)
    for image in IMAGES:
        for name, writer in writers.items():
            writer.add(image, rows_of(name, image), heatmaps_of(name, image))
        time.sleep(pause)
    for name, writer in writers.items():
        try:
            counts = writer.close(expected=len(IMAGES))
            writer.folder.finish({"cell": name, "counts": counts}, keep)
        except lease.LeaseLostError:
            continue

"""What a sweep costs when it is large: images, cells, rows.

    python benchmarks/scale.py [--images 64 512 4096] [--cells 2000] [--points 500] [--rows N]

Images: whole jobs on small images with a small network, each in a process of its own after a
warm-up job, so that imports are paid; seconds per image and peak memory. Cells: how long `status`
takes, and how long a job takes to see that a cell is complete, or to take the lease of one that is
not. Again: what one more complete point of a grid costs the same command, from composing its
configuration to its line in the table. Rows: synthetic cells of 50,000
images x 4 ranks, read back with filters, as many shards and compacted.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import torch
from common import machine, spread
from PIL import Image
from torch import Tensor, nn

from xai_sweep.commands.run import run
from xai_sweep.config.cells import Cell, Curve
from xai_sweep.core.columns import Column
from xai_sweep.results import load
from xai_sweep.store.manifest import flat, manifest
from xai_sweep.store.plans import write_plan
from xai_sweep.store.schema import schema, with_metrics
from xai_sweep.store.sharing.turns import Turns, turns
from xai_sweep.store.store import Store
from xai_sweep.store.upkeep.compact import compact
from xai_sweep.store.upkeep.status import status
from xai_sweep.store.upkeep.verify import verify
from xai_sweep.sweep.plan import planned_cell

PIXELS = 64
ANGLES = 4
RANKS = 4
METRICS = ("rmse", "nrmse", "cosine", "pearson", "spearman", "ssim", "topk_iou")
ENTRIES = {name: {"_target_": f"xai_sweep.metrics.{name}"} for name in METRICS}
COLUMNS = {name: (Column(name, "A metric."),) for name in METRICS}
# A cell of 50,000 images.
ROWS_OF_CELL = 200_000
SHARDS_OF_CELL = 10

Result = TypeVar("Result")


class Small(nn.Module):
    """Three convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3),
            nn.ReLU(),
        )
        self.head = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of 10 classes."""
        logits: Tensor = self.head(self.features(images).mean(dim=(2, 3)))
        return logits


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def photos(folder: Path, count: int) -> Path:
    """A folder of small images, smooth and with noise."""
    folder.mkdir()
    for number in range(count):
        generator = np.random.default_rng(number)
        coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC), float)
        noisy = (smooth + generator.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number:05d}.png")
    return folder


def sweep(work: Path, name: str, images: int, *words: str) -> float:
    """Seconds of a sweep in this process over so many small images."""
    if not (data := work / f"{name}-photos").exists():
        photos(data, images)
        torch.save(Small().state_dict(), work / "net.pt")
    sys.argv = [
        *("run.py", *words, f"results={work / name}", f"data.root={data}"),
        *("data=folder", "model=checkpoint", f"model.path={work / 'net.pt'}"),
        *("model.architecture=scale:Small", f"model.size={PIXELS}"),
        *("explainer=saliency", "logger=none", "pictures=false", "batch_size=16"),
    ]
    return timed(run)[0]


def job(work: Path, count: int) -> None:
    """In a process of its own: seconds and peak memory in MiB of a job on so many images."""
    sweep(work, "warm-up", 16)
    seconds = sweep(work, "measured", count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"images": count, "seconds": round(seconds, 3), "peak_mib": round(peak)}))


def images(counts: list[int]) -> dict[str, object]:
    """Jobs of several sizes; what an image costs, over all and from one size to the next."""
    jobs = []
    for count in counts:
        command = [sys.executable, __file__, "--job", str(count)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        jobs.append(json.loads(answer.splitlines()[-1]))
        print(jobs[-1], flush=True)
    for found in jobs:
        found["ms_per_image"] = round(1000 * found["seconds"] / found["images"], 2)
    steps = [
        {
            "from": small["images"],
            "to": large["images"],
            "ms_per_image": round(
                1000 * (large["seconds"] - small["seconds"]) / (large["images"] - small["images"]),
                2,
            ),
        }
        for small, large in itertools.pairwise(jobs)
    ]
    return {
        "what": f"{PIXELS} x {PIXELS} pixels x {ANGLES} angles x {RANKS} ranks, saliency",
        "jobs": jobs,
        "steps": steps,
    }


def grid(count: int, images: int) -> Iterator[Cell]:
    """Cells of a sweep: 4 magnitudes of each curve."""
    for number in range(-(-count // ANGLES)):
        identity = {
            "model": {"_target_": "xai_sweep.models.Torchvision", "name": f"m{number % 5}"},
            "explainer": {"_target_": "xai_sweep.explainers.Lrp", "variant": number // 5},
            "transform": {"_target_": "xai_sweep.transforms.Rotation", "fill": "mean"},
            **{"seed": 0, "ranks": RANKS, "target": "class", "region": "mask", "numbers": 3},
            "draws": 1,
            **{"weights": {"sha256": "0" * 64}, "data": "0" * 64, "region_of": []},
        }
        curve = Curve(
            data="imagenet-00000000",
            model=f"m{number % 5}",
            explainer=f"lrp(variant={number // 5})",
            transform="rotation",
            parameter="angle",
            identity=identity,
        )
        yield from (Cell(curve, magnitude) for magnitude in (0.5, 1.0, 5.0, 10.0))


def constants(cell: Cell) -> dict[str, object]:
    """The columns that are equal in the whole cell."""
    curve = cell.curve
    return {
        "cell": cell.key,
        "question": curve.question,
        "sweep": "synthetic",
        **{"data": curve.data, "model": curve.model, "explainer": curve.explainer},
        **{"is_control": False, "transform": curve.transform, "parameter": curve.parameter},
        **{"magnitude": cell.magnitude, "seed": 0, "target": "class", "region": "mask"},
        **{"region_of": "own", "draws": 1, "draw": 0},
    }


def rows(cell: Cell, first: int, count: int) -> pa.Table:
    """Synthetic rows: the right columns and types, random numbers."""
    generator = np.random.default_rng(first)
    images, ranks = np.divmod(np.arange(first, first + count), RANKS)
    known = constants(cell)
    expected = schema(flat(COLUMNS))
    columns = []
    for field in expected:
        if field.name in known:
            column = pa.repeat(pa.scalar(known[field.name], field.type), count)
        elif field.name in ("image_id", "image_path"):
            column = pa.array([f"val/{number:08d}.JPEG" for number in images])
        elif field.name == "rank":
            column = pa.array(ranks + 1, field.type)
        elif field.name.startswith("label"):
            column = pa.array([f"class {number}" for number in generator.integers(0, 1000, count)])
        elif field.name == "error":
            column = pa.nulls(count, field.type)
        elif pa.types.is_floating(field.type):
            column = pa.array(generator.random(count), field.type)
        else:
            column = pa.array(generator.integers(0, 2, count)).cast(field.type)
        columns.append(column)
    return with_metrics(pa.table(columns, schema=expected), ENTRIES)


def finished(store: Store, cell: Cell, count: int, shards: int) -> None:
    """A complete cell of so many rows, as a sweep would leave it."""
    folder = store.cell(cell.folder)
    folder.begin(ENTRIES)
    for first in range(0, count, count // shards):
        folder.write(rows(cell, first, count // shards))
    folder.finish(
        manifest(
            constants(cell),
            **{"curve": cell.curve.name, "request": cell.request, "identity": cell.identity},
            **{"config": {**cell.identity, "comment": "x" * 2000}, "metrics": ENTRIES},
            **{"columns": COLUMNS, "unit": "degrees", "device": "cpu", "seconds": 1.0},
            counts={"images": count // RANKS, "failed": 0},
        )
    )


def cells(work: Path, count: int) -> dict[str, object]:
    """Status and resume decisions over so many cells, of 4 rows each or not begun."""
    done, planned = Store(work / "done"), Store(work / "planned")
    wanted = {}
    for cell in grid(count, 1):
        wanted[cell.folder] = ENTRIES
        finished(done, cell, RANKS, 1)
    write_plan(planned.root, [planned_cell(cell, ENTRIES, images=1) for cell in grid(count, 1)])
    statuses = {
        "complete": [timed(lambda: status(done.root))[0] for _ in range(3)],
        "not_begun": [timed(lambda: status(planned.root))[0] for _ in range(3)],
    }
    script = (
        "import sys; from xai_sweep.commands.main import main; sys.argv[0] = 'xai-sweep'; main()"
    )
    command = [sys.executable, "-c", script, "status", str(done.root)]
    whole = [timed(lambda: subprocess.run(command, check=True, capture_output=True))[0]]
    decisions = [timed(lambda: list(turns(done, wanted, 60.0)))[0] for _ in range(3)]
    with Turns(planned, wanted, 60.0) as mine:
        taking, taken = timed(lambda: mine.take(wanted))
        held = timed(lambda: status(planned.root))[0]
        giving = timed(lambda: mine.release(taken))[0]
    return {
        "cells": len(wanted),
        "status_s": {name: spread(values) for name, values in statuses.items()},
        "status_held_s": round(held, 3),
        "status_command_s": round(min(whole), 3),
        "decision_ms_per_cell": spread([1000 * seconds / len(wanted) for seconds in decisions]),
        "lease_ms_per_cell": round(1000 * (taking + giving) / len(wanted), 3),
    }


def again(work: Path, points: int) -> dict[str, object]:
    """The same command over points of a grid that are all complete, beside over one of them."""
    many, one = f"transform.angle=range(1,{points + 1})", "transform.angle=range(1,2)"
    sweep(work, "again", 1, "-m", many)
    rounds = [
        sweep(work, "again", 1, "-m", many) - sweep(work, "again", 1, "-m", one) for _ in range(3)
    ]
    return {
        "points": points,
        "ms_per_cell": spread([1000 * seconds / (points - 1) for seconds in rounds]),
    }


def reading(root: Path, cell: Cell) -> dict[str, object]:
    """Seconds of filtered loads, and of the same question to DuckDB and polars."""
    identity = cell.curve.identity
    one_cell = [("explainer", "==", cell.curve.explainer), ("model", "==", cell.curve.model)]
    one_cell.append(("magnitude", "==", 5.0))
    question = " and ".join(f"{name} = {value!r}" for name, _, value in one_cell)
    files = f"{root}/cells/*/*.parquet"
    wanted = ["image_id", "rank", "rmse", "spearman"]
    assert identity["ranks"] == RANKS
    loads: dict[str, Callable[[], object]] = {
        "one cell, 4 columns": lambda: load(root, columns=wanted, filters=one_cell),
        "one model, 4 columns": lambda: load(
            root, columns=wanted, filters=[("model", "==", cell.curve.model)]
        ),
        "first ranks of one magnitude, 2 columns": lambda: load(
            root,
            columns=["explainer", "rmse"],
            filters=[("magnitude", "==", 5.0), ("rank", "==", 1)],
        ),
        "every row, 2 columns": lambda: load(root, columns=["magnitude", "rmse"]),
        "DuckDB: one cell, 4 columns": lambda: duckdb.sql(
            f"select {', '.join(wanted)} from read_parquet('{files}') where {question}"
        ).df(),
        "polars: one cell, 4 columns": lambda: (
            pl.scan_parquet(files)
            .filter(
                (pl.col("explainer") == cell.curve.explainer)
                & (pl.col("model") == cell.curve.model)
                & (pl.col("magnitude") == 5.0)
            )
            .select(wanted)
            .collect()
        ),
    }
    found: dict[str, object] = {}
    for name, work in loads.items():
        times, sizes = zip(*[timed(lambda work=work: len(work())) for _ in range(3)], strict=True)  # type: ignore[arg-type,misc]
        found[name] = {"rows": sizes[0], "seconds": spread(list(times))}
        print(name, found[name], flush=True)
    return found


def many_rows(work: Path, count: int) -> dict[str, object]:
    """Loads of so many rows, as the sweep leaves them and compacted."""
    store = Store(work / "rows")
    of_cells = [*grid(count // ROWS_OF_CELL, ROWS_OF_CELL // RANKS)]
    writing = timed(
        lambda: [finished(store, cell, ROWS_OF_CELL, SHARDS_OF_CELL) for cell in of_cells]
    )[0]
    size = folder_bytes(store.root)
    sharded = reading(store.root, of_cells[0])
    compacting = timed(lambda: list(compact(store.root)))[0]
    compacted = reading(store.root, of_cells[0])
    size_after = folder_bytes(store.root)
    verifying, verdict = timed(lambda: verify(store.root))
    assert not verdict.faults
    return {
        "rows": verdict.rows,
        "cells": len(of_cells),
        "shards_per_cell": SHARDS_OF_CELL,
        "bytes_per_row": round(size / verdict.rows, 1),
        "bytes_per_row_compacted": round(size_after / verdict.rows, 1),
        "write_s": round(writing, 1),
        "compact_s": round(compacting, 1),
        "verify_s": round(verifying, 1),
        "load_shards": sharded,
        "load_compacted": compacted,
    }


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


def main() -> None:
    """Measure and write benchmarks/results/scale.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--images", type=int, nargs="*", default=[64, 512, 4096])
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--job", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.job:
            job(Path(folder), given.job)
            return
        found = {
            **machine(),
            "images": images(given.images),
            "cells": cells(Path(folder), given.cells),
            "again": again(Path(folder), given.points),
            "rows": many_rows(Path(folder), given.rows),
        }
    target = Path(__file__).parent / "results" / "scale.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

"""What a grid costs if cells that share model, data and explainer share a job, and if not.

    python benchmarks/packing.py [--explainers lrp grad_cam guided_backprop] [--limit 6]

The same cells (4 angles and 4 sigmas x the explainers, the sample photos) three times, one after
the other, each from the start of the first process to the end of the last: `-m` as it is, a job per
cell in one process (Hydra's own sweeper), and a process per cell. The rows must be equal.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from common import machine

from xai_sweep.results import load
from xai_sweep.store.schema import comparable

ROOT = Path(__file__).parents[1]
ANGLES = (0.5, 1, 5, 10)
SIGMAS = (0.05, 0.1, 0.2, 0.4)
ROWS_ONLY = ("logger=none", "keep_heatmaps=none", "pictures=false")
WHO = ["explainer", "transform", "magnitude", "image_id", "rank"]


def run(results: Path, *words: str) -> None:
    """One call of the program."""
    command = [sys.executable, str(ROOT / "run.py"), *words, f"results={results}", *ROWS_ONLY]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)


def packed(results: Path, explainers: list[str], *words: str) -> None:
    lists = (f"magnitude.angle={[*ANGLES]}", f"magnitude.sigma={[*SIGMAS]}")
    transforms = "transform=rotation,gaussian_noise"
    run(results, "-m", f"explainer={','.join(explainers)}", transforms, *lists, *words)


def a_job_per_cell(results: Path, explainers: list[str], *words: str) -> None:
    for transform, key, values in _axes():
        grid = f"{key}={','.join(map(str, values))}"
        chosen = ("-m", f"explainer={','.join(explainers)}", transform, grid)
        run(results, *chosen, "hydra/sweeper=basic", *words)


def a_process_per_cell(results: Path, explainers: list[str], *words: str) -> None:
    for explainer in explainers:
        for transform, key, values in _axes():
            for value in values:
                run(results, f"explainer={explainer}", transform, f"{key}={value}", *words)


def _axes() -> list[tuple[str, str, tuple[float, ...]]]:
    return [
        ("transform=rotation", "transform.angle", ANGLES),
        ("transform=gaussian_noise", "transform.sigma", SIGMAS),
    ]


def rows(results: Path) -> pd.DataFrame:
    """What decides nothing but says where and when left out."""
    frame = load(results).sort_values(WHO, ignore_index=True)
    return frame[comparable(frame.columns)]


def difference(left: pd.DataFrame, right: pd.DataFrame) -> float:
    """The largest relative difference of two tables of rows that are otherwise the same."""
    numbers = left.select_dtypes("float64").columns
    others = left.columns.difference(numbers)
    pd.testing.assert_frame_equal(left[others], right[others])
    scale = left[numbers].abs().clip(lower=1e-12)
    return float(((left[numbers] - right[numbers]).abs() / scale).max(axis=None))


def main() -> None:
    """Measure and write benchmarks/results/packing.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--explainers", nargs="*", default=["lrp", "grad_cam", "guided_backprop"])
    parser.add_argument("--limit", type=int, default=6)
    given = parser.parse_args()
    ways = (packed, a_job_per_cell, a_process_per_cell)
    with tempfile.TemporaryDirectory() as folder:
        # Once before, so that no way pays for the first reading of libraries from the disk.
        run(Path(folder) / "warm", "data.limit=1", "magnitude=single")
        seconds, found = {}, {}
        for way in ways:
            results = Path(folder) / way.__name__
            start = time.perf_counter()
            way(results, given.explainers, f"data.limit={given.limit}")
            seconds[way.__name__] = round(time.perf_counter() - start, 1)
            found[way.__name__] = rows(results)
            print(way.__name__, seconds[way.__name__], "s", flush=True)
    apart = found["a_process_per_cell"]
    answer = {
        "what": f"4 angles and 4 sigmas x {', '.join(given.explainers)} x {given.limit} sample "
        "photos x 4 ranks, efficientnet_lite0, rows only",
        **machine(),
        "cells": int(apart["cell"].nunique()),
        "rows": len(apart),
        "seconds": seconds,
        "packed_over_a_process_per_cell": round(
            seconds["packed"] / seconds["a_process_per_cell"], 3
        ),
        "packed_over_a_job_per_cell": round(seconds["packed"] / seconds["a_job_per_cell"], 3),
        "largest_relative_difference_of_the_rows": {
            name: difference(apart, found[name]) for name in ("packed", "a_job_per_cell")
        },
    }
    target = Path(__file__).parent / "results" / "packing.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(answer, indent=2) + "\n")
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()

"""Whether several processes on a CPU are faster than the same cores in one.

    python benchmarks/processes.py [--images 64] [--processes 2] [--repeats 2] [--explainers ...]

Both are whole jobs on the same photos, in turn, with all cores: one process with a thread per core,
and several processes with their share of the threads. The first reads images and writes rows in one
process; the others each load the network. Importing is not counted.
"""

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path

from common import machine, spread
from overhead import ROWS_ONLY, job, photos, quiet

from xai_sweep.config.keys import add_schema


def compare(
    explainer: str, data: Path, work: Path, images: int, processes: int, repeats: int
) -> dict[str, object]:
    """The same job in one process and in several, in turn."""
    words = (f"explainer={explainer}", "batch_size=4", *ROWS_ONLY)
    several = ("trainer=devices", f"trainer.devices={processes}")
    seconds: dict[str, list[float]] = {"one": [], "several": []}
    for turn in range(repeats + 1):
        for name, more in (("one", ()), ("several", several)):
            limit = [] if turn else ["data.limit=4"]  # the first turn warms up
            results = work / "results"
            taken = quiet(lambda: job(results, data, *words, *more, *limit))  # noqa: B023
            shutil.rmtree(results)
            if turn:
                seconds[name].append(taken)
                print(f"{explainer}: {name} {taken:.1f} s", flush=True)
    return {
        "explainer": explainer,
        "processes": processes,
        "one_s": spread(seconds["one"]),
        "several_s": spread(seconds["several"]),
        "images_per_s": {name: spread([images / s for s in seconds[name]]) for name in seconds},
        "times_faster": spread(
            [a / b for a, b in zip(seconds["one"], seconds["several"], strict=True)]
        ),
    }


def main() -> None:
    """Measure and write benchmarks/results/processes.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--explainers", nargs="*", default=["lrp", "grad_cam"])
    given = parser.parse_args()
    add_schema()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        data = photos(work / "photos", given.images)
        found = {
            "what": f"{given.images} images x 4 angles x 4 ranks, efficientnet_lite0, CPU",
            **machine(),
            "jobs": [
                compare(name, data, work, given.images, given.processes, given.repeats)
                for name in given.explainers
            ],
        }
    target = Path(__file__).parent / "results" / "processes.json"
    target.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

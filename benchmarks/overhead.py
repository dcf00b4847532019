"""What the program costs beside its model calls, and whether its memory grows with the images.

    python benchmarks/overhead.py [--images 64] [--repeats 5] [--memory 64 512]

The whole job (reading photos, transforms, moved references, seven metrics, floors, parquet) is
timed against a bare loop of the same predictions and explanations on tensors that are already
there. Both run in this process in turn; importing, loading the network and capturing its graph
are paid before. Pictures and the W&B run are timed apart, because they do not grow with the images.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import machine, spread
from hydra import compose, initialize_config_dir

from xai_sweep.config.building import build
from xai_sweep.config.keys import add_schema
from xai_sweep.core.paths import CONF
from xai_sweep.data import Folder, Images, Samples, read_image
from xai_sweep.explainers import Explainer
from xai_sweep.models import load
from xai_sweep.sweep.running import Job, run

MAGNITUDES = 4
EXPLAINERS = ("lrp", "guided_backprop", "grad_cam")
ROWS_ONLY = ("logger=none", "keep_heatmaps=none", "pictures=false")


def photos(folder: Path, count: int) -> Path:
    """A folder of JPEG photographs: the samples, each time cropped a little differently."""
    folder.mkdir()
    sources = [read_image(file.path) for file in Samples().files()]
    for index in range(count):
        image = sources[index % len(sources)]
        shift = index // len(sources)
        box = (shift, shift // 2, image.width - shift % 7, image.height - shift % 5)
        image.crop(box).save(folder / f"{index:05d}.jpg", quality=90)
    return folder


def job(results: Path, data: Path, *words: str) -> float:
    """Seconds of a whole job in this process."""
    overrides = [f"results={results}", "data=folder", f"data.root={data}", *words]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=overrides)
        hydra = compose("config", overrides=overrides, return_hydra_config=True).hydra
    choices = {group: str(entry) for group, entry in hydra.runtime.choices.items()}
    start = time.perf_counter()
    run(cfg, Job(choices, "benchmark", results / "_jobs" / "benchmark"))
    return time.perf_counter() - start


def bare_loop(explainer: str, images: torch.Tensor, batch_size: int) -> float:
    """Seconds of the same calls and nothing else: clean images, then so many copies of them."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=[f"explainer={explainer}"])
    classifier = load("efficientnet_lite0")
    method: Explainer = build(cfg.explainer)
    start = time.perf_counter()
    for _ in range(1 + MAGNITUDES):
        for batch in images.split(batch_size):
            with torch.no_grad():
                targets = classifier.module(batch).topk(4, dim=1).indices
            method.explain(classifier, batch, targets)
    return time.perf_counter() - start


def quiet(work: Callable[[], float]) -> float:
    """Run without the job's table on the screen."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        out, err = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = nowhere
        try:
            return work()
        finally:
            sys.stdout, sys.stderr = out, err


def overhead(
    explainer: str, data: Path, work: Path, repeats: int, batch_size: int
) -> dict[str, object]:
    """The job and the bare loop in turn."""
    classifier = load("efficientnet_lite0")
    dataset = Images(Folder(str(data)).files(), classifier.preprocess)
    images = torch.stack([dataset[index].image for index in range(len(dataset))])  # type: ignore[misc]
    words = (f"explainer={explainer}", f"batch_size={batch_size}", *ROWS_ONLY)
    # Imports, the network and its graph are paid for here.
    quiet(lambda: job(work / "warm", data, *words, "data.limit=4"))
    shutil.rmtree(work / "warm")
    jobs, loops = [], []
    for _ in range(repeats):
        results = work / "results"
        jobs.append(quiet(lambda results=results: job(results, data, *words)))  # type: ignore[misc]
        shutil.rmtree(results)
        loops.append(bare_loop(explainer, images, batch_size))
        print(f"{explainer}: job {jobs[-1]:.2f} s, bare loop {loops[-1]:.2f} s", flush=True)
    return {
        "explainer": explainer,
        "batch_size": batch_size,
        "job_s": spread(jobs),
        "bare_loop_s": spread(loops),
        "ratio": spread([a / b for a, b in zip(jobs, loops, strict=True)]),
    }


def extras(data: Path, work: Path) -> dict[str, float]:
    """Seconds that pictures and an offline W&B run add to a job, whatever its size."""
    words = ("explainer=grad_cam", "batch_size=4")
    plain = quiet(lambda: job(work / "plain", data, *words, *ROWS_ONLY))
    drawn = quiet(lambda: job(work / "drawn", data, *words, "logger=none"))
    logged = quiet(lambda: job(work / "logged", data, *words, "logger.mode=offline"))
    return {"pictures_s": round(drawn - plain, 2), "wandb_s": round(logged - drawn, 2)}


def peak_memory(count: int) -> float:
    """Peak resident memory in MiB of a job on so many images, in a process of its own."""
    command = [sys.executable, __file__, "--peak-of", str(count)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(answer.splitlines()[-1])


def main() -> None:
    """Measure and write benchmarks/results/overhead.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--explainers", nargs="*", default=EXPLAINERS)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--memory", type=int, nargs="*", default=[64, 512])
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    add_schema()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if given.peak_of:
            data = photos(work / "photos", given.peak_of)
            quiet(lambda: job(work / "results", data, "explainer=grad_cam", "logger=none"))
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            return
        data = photos(work / "photos", given.images)
        found = {
            "what": f"{given.images} images x {MAGNITUDES} angles x 4 ranks, efficientnet_lite0",
            **machine(),
            "overhead": [
                overhead(explainer, data, work, given.repeats, given.batch_size)
                for explainer in given.explainers
            ],
            "fixed_costs": extras(data, work),
            "peak_memory_mib": {str(n): round(peak_memory(n)) for n in given.memory},
        }
    target = Path(__file__).parent / "results" / "overhead.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

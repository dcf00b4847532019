"""LIME beside the `lime` package, on EfficientNet-Lite0 and photos of 224 pixels.

    python benchmarks/lime.py [--quick] [--repeats 3] [--cases a b c]

a. 1,000 samples, four targets, the same superpixels: seconds of the package at its best batch
   size, of ours, and of 1,000 bare forward passes in their fastest batch and memory format.
   Aims: at least 1.7 times faster at full precision, at most 10 % above the bare passes.
b. The smallest number of samples at which no coefficient's standard error over draws is larger
   than the package's at 1,000, and the time for it. Aim: at least 4 times faster.
c. One photo turned by four angles, four targets, at that certainty, against a loop over the
   package. Aim: at least 4 times faster.

Everything is timed in turn in one process; ratios are within a round. What is paid once per
network or image (capturing, loading, in a and b the superpixels) is paid before. The errors of b
are estimated by the sandwich, averaged over draws, and beside them stands the spread over draws
itself. With a GPU all of it runs there. `--quick` takes fewer samples: only good to see it run.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

# This file has the name of the package that it measures.
sys.path.append(sys.path.pop(0))

import torch
from common import machine, spread
from PIL import Image
from skimage import data
from torch import Tensor

from xai_sweep.explainers import Lime, LimePackage
from xai_sweep.models import Classifier, load
from xai_sweep.transforms import Rotation

ANGLES = (0.5, 1.0, 5.0, 10.0)
BATCHES = {"cpu": (4, 8, 16), "cuda": (64, 256)}
PACKAGE_BATCHES = {"cpu": (4, 10, 32), "cuda": (10, 32, 256)}
LAYOUTS = {"default": torch.contiguous_format, "channels_last": torch.channels_last}
SIZES = (512, 640, 704, 768, 800, 832, 864, 896, 1000)

Call = Callable[[], object]


def seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def in_turn(calls: dict[str, Call], repeats: int) -> list[dict[str, float]]:
    """Seconds of every call, round by round."""
    return [{name: seconds(call) for name, call in calls.items()} for _ in range(repeats)]


def figures(rounds: list[dict[str, float]], against: str) -> dict[str, dict[str, object]]:
    """Seconds, and how many times faster than one of them, of each."""
    return {
        name: {
            "seconds": spread([each[name] for each in rounds]),
            f"times_faster_than_{against}": spread([e[against] / e[name] for e in rounds]),
        }
        for name in rounds[0]
    }


class Bench:
    """A network, photos and their best classes."""

    def __init__(self, device: str, samples: int, repeats: int) -> None:
        self.device, self.samples, self.repeats = device, samples, repeats
        loaded = load("efficientnet_lite0")
        loaded.module.to(device)
        self.classifier: Classifier = loaded
        photos = [data.chelsea(), data.coffee()]
        self.photos = torch.stack([loaded.preprocess(Image.fromarray(each)) for each in photos])
        self.photos = self.photos.to(device)
        with torch.no_grad():
            self.targets = loaded.module(self.photos).topk(4).indices

    def ours(self, images: Tensor, targets: Tensor, **options: object) -> Call:
        """Our LIME."""
        explainer = Lime(**{"num_samples": self.samples, **options})
        return lambda: explainer.explain(self.classifier, images, targets)

    def package(self, images: Tensor, targets: Tensor, batch: int, samples: int = 0) -> Call:
        """The `lime` package."""
        explainer = LimePackage(num_samples=samples or self.samples, batch_size=batch)
        return lambda: explainer.explain(self.classifier, images, targets)

    def bare(self, batch: int, layout: str, samples: int) -> Call:
        """The network alone."""
        images = self.photos[:1].repeat(batch, 1, 1, 1)
        images = images.contiguous(memory_format=LAYOUTS[layout])

        def call() -> None:
            with torch.inference_mode():
                for _ in range(-(-samples // batch)):
                    self.classifier.module(images)

        return call

    def best_bare(self) -> tuple[int, str]:
        """Batch and memory format in which the network alone is fastest."""
        found = {
            (batch, layout): self.bare(batch, layout, max(96, batch))
            for batch in BATCHES[self.device]
            for layout in LAYOUTS
        }
        for call in found.values():
            call()
        return min(found, key=lambda each: min(seconds(found[each]) for _ in range(3)))

    def best_package_batch(self) -> int:
        """Batch size at which the package is fastest."""
        one, targets = self.photos[:1], self.targets[:1]
        found = {
            batch: self.package(one, targets, batch, 96) for batch in PACKAGE_BATCHES[self.device]
        }
        for call in found.values():
            call()
        return min(found, key=lambda batch: min(seconds(found[batch]) for _ in range(2)))


def case_a(bench: Bench, package_batch: int) -> dict[str, object]:
    """The same samples."""
    one, targets = bench.photos[:1], bench.targets[:1]
    batch, layout = bench.best_bare()
    calls = {
        "package": bench.package(one, targets, package_batch),
        "bare": bench.bare(batch, layout, bench.samples),
        "ours": bench.ours(one, targets),
        "ours_bfloat16": bench.ours(one, targets, precision="bfloat16"),
    }
    for name in ("ours", "ours_bfloat16"):
        calls[name]()
    bench.package(one, targets, package_batch, 40)()
    rounds = in_turn(calls, bench.repeats)
    return {
        "samples": bench.samples,
        "bare_batch": batch,
        "bare_format": layout,
        "package_batch": package_batch,
        "times": figures(rounds, "package"),
        "ours_per_bare": spread([each["ours"] / each["bare"] for each in rounds]),
    }


def draws(bench: Bench, index: int, seeds: int, **options: object) -> tuple[Tensor, Tensor]:
    """Coefficients of several draws ``[S, K, P]``, and the mean of their estimated variances."""
    explainer = Lime(**options)
    image, targets = bench.photos[index : index + 1], bench.targets[index : index + 1]
    found = [
        explainer.surrogates(bench.classifier, image, targets, torch.tensor([seed]))
        for seed in range(seeds)
    ]
    coefficients = torch.stack([each.coefficients[0] for each in found])
    return coefficients, torch.stack([each.stderr[0].square() for each in found]).mean(dim=0)


def enough(bench: Bench, seeds: int) -> dict[str, object]:
    """How many samples of the orthogonal design are as certain as the package's."""
    fast = {"precision": "bfloat16"}
    same = {"num_samples": bench.samples, "design": "bernoulli"}
    found: dict[str, object] = {}
    base = [draws(bench, index, seeds, **same, **fast) for index in range(len(bench.photos))]
    for size in [round(size * bench.samples / 1000) for size in SIZES]:
        told, spreads = [], []
        for index, (coefficients, variance) in enumerate(base):
            less, error = draws(bench, index, seeds, num_samples=size, design="orthogonal", **fast)
            told.append((error / variance).sqrt().flatten())
            spreads.append((less.var(dim=0).mean(1) / coefficients.var(dim=0).mean(1)).sqrt())
        largest = float(torch.cat(told).max())
        found[str(size)] = {
            "largest_error_relative_to_package": round(largest, 4),
            "median_error_relative_to_package": round(float(torch.cat(told).median()), 4),
            "spread_over_draws_relative_to_package": [
                round(float(each), 3) for each in torch.cat(spreads)
            ],
        }
        if largest <= 1:
            break
    exact, _ = draws(bench, 0, 1, **same)
    rough, _ = draws(bench, 0, 1, **same, **fast)
    error = base[0][1].mean(dim=1).sqrt()
    moved = (rough - exact)[0].square().mean(dim=1).sqrt()
    return {
        "seeds": seeds,
        "orthogonal": found,
        "samples": size,
        "largest_ratio": largest,
        "bfloat16_change_in_standard_errors": [round(float(each), 4) for each in moved / error],
    }


def case_b(bench: Bench, package_batch: int, certain: dict[str, object]) -> dict[str, object]:
    """The same certainty."""
    one, targets = bench.photos[:1], bench.targets[:1]
    fewer = {"num_samples": certain["samples"], "design": "orthogonal"}
    calls = {
        "package": bench.package(one, targets, package_batch),
        "ours": bench.ours(one, targets, **fewer),
        "ours_bfloat16": bench.ours(one, targets, **fewer, precision="bfloat16"),
    }
    for name in ("ours", "ours_bfloat16"):
        calls[name]()
    return {**certain, "times": figures(in_turn(calls, bench.repeats), "package")}


def case_c(bench: Bench, package_batch: int, samples: int) -> dict[str, object]:
    """Four magnitudes of one image, superpixels found anew in each, at the same certainty."""
    copies = bench.photos[:1].repeat(4, 1, 1, 1)
    turns = torch.tensor(ANGLES, dtype=torch.float64, device=bench.device)
    copies = Rotation().motion(turns, (copies.shape[-2], copies.shape[-1])).move(copies)
    targets = bench.targets[:1].repeat(4, 1)
    fewer = {"num_samples": samples, "design": "orthogonal"}
    bench.ours(copies, targets, **fewer)()

    # A new explainer each time, or it would remember the superpixels.
    calls: dict[str, Call] = {
        "package": lambda: bench.package(copies, targets, package_batch)(),
        "ours_same_samples": lambda: bench.ours(copies, targets)(),
        "ours": lambda: bench.ours(copies, targets, **fewer)(),
        "ours_bfloat16": lambda: bench.ours(copies, targets, **fewer, precision="bfloat16")(),
    }
    rounds = in_turn(calls, max(1, bench.repeats - 1))
    return {"samples": samples, "times": figures(rounds, "package")}


def main() -> None:
    """Measure and write benchmarks/results/lime.json; cases that are not run keep what it has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=8, help="draws behind each standard error")
    parser.add_argument("--cases", nargs="*", choices=["a", "b", "c"], default=["a", "b", "c"])
    parser.add_argument("--samples", type=int, default=0, help="of c, instead of those of b")
    parser.add_argument("--quick", action="store_true")
    words = parser.parse_args()
    torch.set_num_threads(2)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bench = Bench(device, 240 if words.quick else 1000, 1 if words.quick else words.repeats)
    seeds = 2 if words.quick else words.seeds
    target = Path(__file__).parent / "results" / ("lime_quick.json" if words.quick else "lime.json")
    found = json.loads(target.read_text()) if target.exists() else {}
    found |= {"what": "EfficientNet-Lite0, 224 px, 4 targets, " + device, **machine()}
    batch = bench.best_package_batch()
    if "a" in words.cases:
        found["a"] = case_a(bench, batch)
        print(json.dumps(found["a"], indent=1), flush=True)
    if "b" in words.cases:
        found["b"] = case_b(bench, batch, enough(bench, seeds))
        print(json.dumps(found["b"], indent=1), flush=True)
    if "c" in words.cases:
        samples = words.samples or (found["b"]["samples"] if "b" in found else bench.samples)
        found["c"] = case_c(bench, batch, samples)
        print(json.dumps(found["c"], indent=1), flush=True)
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""The cost of a heatmap of layer-wise relevance propagation, compared with other libraries.

    python benchmarks/lrp.py [--repeats 5] [--peer-repeats 2] [--cases a b c d]

All methods are timed in turn in one process, 224 pixels, two threads, random weights. Times are in
units of the same network's own forward pass in the same memory format, without gradients. What a
method prepares once per network is not measured. Other libraries are many times slower and are
timed in the first rounds only. The targets for ours: case a at most 2.6 forward passes, b 6, c 3.5,
d 4.

Memory is the largest resident memory during one call, less that before it, in a process of its own
(on a GPU: that of torch's allocator). With a GPU the same table is made there, and also images per
second at the best batch size and the effect of TF32 and bfloat16 on the maps.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import torch
from common import machine, spread
from lrp_peers import CASES, FORMATS, METHODS, Call, Case, given, ours
from torch import Tensor

MEASURED = ("forward", "gradient", "ours", "compiled")


def seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(
    case: Case, layout: str, device: str, repeats: int, peer_repeats: int
) -> dict[str, dict[str, object]]:
    """Seconds of every method and their ratio to the forward pass of the same round."""
    module, images, targets = given(case, layout, device)
    names = ["forward", *(name for name in case.peers if peer_repeats or name in MEASURED)]
    calls = {name: METHODS[name](case, module, images, targets) for name in names}
    for name, call in calls.items():
        maps = call()
        if not maps.isfinite().all():
            raise ValueError(f"{name} gave values that are not finite")
    rounds = [
        {
            name: seconds(call)
            for name, call in calls.items()
            if name in MEASURED or number < peer_repeats
        }
        for number in range(repeats)
    ]
    return {
        name: {
            "seconds": spread([each[name] for each in rounds if name in each]),
            "ratio": spread([each[name] / each["forward"] for each in rounds if name in each]),
        }
        for name in calls
    }


def peak_of(case: Case, method: str, device: str) -> float:
    """The largest memory of a second call in MiB; the first prepares what is prepared once."""
    call = METHODS[method](case, *given(case, "default", device))
    call()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def resident(key: str) -> float:
    """A figure of this process in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def peak(name: str, method: str, device: str) -> int:
    """`peak_of` in a process of its own, whose allocator returns large blocks at once."""
    answer = subprocess.run(
        [sys.executable, __file__, "--peak-of", name, method, device],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
        check=True,
        capture_output=True,
        text=True,
    )
    return round(float(answer.stdout.splitlines()[-1]))


def best_batch(case: Case) -> dict[str, float]:
    """Images per second on the GPU: the batch size is doubled as long as that is faster."""
    best = {"batch": 0, "images_per_second": 0.0}
    module, images, targets = given(case, "channels_last", "cuda")
    for _ in range(8):
        images, targets = images.repeat(2, 1, 1, 1), targets.repeat(2, 1)
        images = images.contiguous(memory_format=torch.channels_last)
        call = ours(case, module, images, targets)
        try:
            call()
            rate = len(images) / min(seconds(call) for _ in range(3))
        except torch.cuda.OutOfMemoryError:
            break
        if rate < best["images_per_second"]:
            break
        best = {"batch": len(images), "images_per_second": round(rate, 1)}
    return best


def precision(case: Case) -> dict[str, float]:
    """The largest change of a map relative to its largest value, on average over the maps."""
    module, images, targets = given(case, "default", "cuda")

    def maps(kind: torch.dtype, tf32: bool) -> Tensor:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        network = copy.deepcopy(module).to(kind)
        return ours(case, network, images.to(kind), targets)().double()

    exact = maps(torch.float64, False)
    found = {
        "float32": maps(torch.float32, False),
        "tf32": maps(torch.float32, True),
        "bfloat16": maps(torch.bfloat16, False),
    }
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    largest = exact.abs().amax(dim=(2, 3))
    return {
        name: float(((rough - exact).abs().amax(dim=(2, 3)) / largest).mean())
        for name, rough in found.items()
    }


def table(found: dict[str, dict[str, dict[str, dict[str, object]]]]) -> str:
    """The ratios as text."""
    lines = [f"{'case':26}{'method':10}{'seconds':>9}  ratio to forward, median (min to max)"]
    for where, methods in found.items():
        for name, figures in methods.items():
            ratio = figures["ratio"]
            lines.append(
                f"{where:26}{name:10}{figures['seconds']['median']:9.3f}"
                f"{ratio['median']:8.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure and write benchmarks/results/lrp.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-repeats", type=int, default=2, help="0: none")
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--peak-of", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    # Peers say that they replace in-place operations.
    warnings.simplefilter("ignore")
    if arguments.peak_of:
        name, method, device = arguments.peak_of
        print(peak_of(CASES[name], method, device))
        return
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    times: dict[str, dict[str, dict[str, dict[str, object]]]] = {}
    memory: dict[str, dict[str, int]] = {}
    extras: dict[str, dict[str, object]] = {}
    for device in devices:
        for name in arguments.cases:
            for layout in FORMATS:
                where = f"{name} {device} {layout}"
                times[where] = measure(
                    CASES[name], layout, device, arguments.repeats, arguments.peer_repeats
                )
                print(table({where: times[where]}), flush=True)
            memory[f"{name} {device}"] = {each: peak(name, each, device) for each in MEASURED}
            if device == "cuda":
                extras[name] = {
                    "throughput": best_batch(CASES[name]),
                    "relative_difference_to_float64": precision(CASES[name]),
                }
    found = {
        "what": {name: CASES[name].what for name in arguments.cases},
        **machine(),
        "times": times,
        "peak_extra_mib": memory,
        "gpu_only": extras,
    }
    target = Path(__file__).parent / "results" / "lrp.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(found, indent=2) + "\n")
    print(table(times))
    for where, peaks in memory.items():
        print(f"{where:26}peak MiB above the call's start: {peaks}")
    for name, extra in extras.items():
        print(f"{name:26}{extra}")


if __name__ == "__main__":
    main()

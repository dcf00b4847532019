"""Which method is right on which network: every family of timm and torchvision.

    python benchmarks/coverage.py [--only timm/resnet18 ...] [--again] [--table]

The smallest network of every model file of timm and torchvision, and some further ones, have random
weights, real batchnorm statistics and images as small as they take, in double precision. Each
method is compared with an oracle that does not use our code: `coverage_checks.py`. Every network
has a process of its own with limits of time and memory, so that one cannot stop the others.

`benchmarks/results/coverage.json` is written after every network, and a run goes on where the last
one stopped; `--again` asks those again that were not right. `docs/coverage.md` is made from it. All
of it takes about two hours of one core, more where others use it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import machine

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "coverage.json"
PAGE = ROOT / "docs" / "coverage.md"
SECONDS = 600
GIGABYTES = 12
STATES = ("right", "refused", "not checked", "wrong")
HEAD = """# Which method is right on which network

Made by `python benchmarks/coverage.py`: the smallest network of every model file of timm {timm}
and torchvision {torchvision}, and further architectures of files that hold several. Weights are
random, statistics of batchnorm are those of random batches, images as small as the network takes,
all in double precision. *Right* means equal to an oracle that does not use our code. *Refused*
means one line and exit code 1; the line is below the table. The oracles:

{oracles}

{counts}

"""
ORACLES = {
    "lrp": "LRP-0 is the gradient, times the image, of the network in which activations, gates and "
    "deviations count as constant factors; of the default rules and of `epsilon_plus` the shares "
    "sum to 1 and maps are those of the rules' equations; what is said never to be negative is not",
    "lrp unsupported=gradient": "likewise",
    "grad_cam": "hooks on the network's modules",
    "guided_backprop": "the network with its rectifiers replaced",
    "deep_lift": "the map sums to the difference of the logits",
    "integrated_gradients": "captum",
    "lime": "the ridge of the `lime` package on the same masks",
    "pattern_attribution": "the network's gradient through weights times patterns",
}


def one(name: str) -> dict[str, Any]:
    """The states of all methods on one network; in a process of its own."""
    import coverage_networks
    import torch
    from coverage_checks import checks

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    case = next(each for each in cases() if each["name"] == name)
    case = coverage_networks.Case(**case)
    module = coverage_networks.network(case).double()
    return checks(module, coverage_networks.images(case), case.side)


def apart(name: str) -> dict[str, Any]:
    """`one` in another process; what ends that process is the reason why nothing was checked."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (GIGABYTES << 30, GIGABYTES << 30))

    start = time.monotonic()
    try:
        ended = subprocess.run(
            [sys.executable, __file__, "--one", name],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            preexec_fn=limit,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        lines = [line for line in ended.stdout.splitlines() if line.startswith("{")]
        last = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        found = json.loads(lines[-1]) if lines else unchecked(last)
    except subprocess.TimeoutExpired:
        found = unchecked(f"not done in {SECONDS} s")
    return {"methods": found, "seconds": round(time.monotonic() - start)}


def unchecked(why: str) -> dict[str, dict[str, str]]:
    """Every method of a network that could not be checked."""
    return {
        name: {"state": "not checked", "why": why[:200]} for name in ("lrp", *list(ORACLES)[1:])
    }


def cases() -> list[dict[str, Any]]:
    """The networks, found once per version of timm and torchvision."""
    import timm
    import torchvision

    known = read()
    versions = {"timm": timm.__version__, "torchvision": torchvision.__version__}
    if known.get("versions") != versions:
        import coverage_networks

        known |= {
            "versions": versions,
            "cases": [asdict(case) for case in coverage_networks.families()],
        }
        write(known)
    found: list[dict[str, Any]] = known["cases"]
    return found


def read() -> dict[str, Any]:
    """What is known so far."""
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


def write(known: Mapping[str, Any]) -> None:
    """Replace the results at once."""
    partial = RESULTS.with_suffix(".partial")
    partial.write_text(json.dumps(known, indent=1) + "\n")
    partial.replace(RESULTS)


def page(known: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    results = known["networks"]
    methods = list(next(iter(results.values()))["methods"])
    counts = {m: Counter(each["methods"][m]["state"] for each in results.values()) for m in methods}
    lines = [f"| method | {' | '.join(STATES)} |", "|---" * 5 + "|"]
    lines += [f"| `{m}` | {' | '.join(str(counts[m][s]) for s in STATES)} |" for m in methods]
    oracles = "\n".join(f"- `{name}`: {what}" for name, what in ORACLES.items())
    head = HEAD.format(**known["versions"], oracles=oracles, counts="\n".join(lines))
    notes: dict[str, int] = {}
    rows = [f"| network | {' | '.join(methods)} |", "|---" * (1 + len(methods)) + "|"]
    for name, result in results.items():
        cells = []
        for method in methods:
            found = result["methods"][method]
            note = ""
            if found["state"] != "right":
                note = f" [{notes.setdefault(found['why'], len(notes) + 1)}]"
            cells.append(found["state"] + note)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    missing = [case["name"] for case in known["cases"] if case["name"] not in results]
    if missing:
        rows += ["", f"Not run yet: {', '.join(missing)}."]
    reasons = [f"{number}. {why}" for why, number in notes.items()]
    return head + "\n".join([*rows, "", *reasons, ""])


def main() -> None:
    """Run what is missing and write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--only", nargs="*", help="networks, by name; they are run again")
    parser.add_argument("--again", action="store_true", help="run again what was not right")
    parser.add_argument("--table", action="store_true", help="only write the page")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one)))
        return
    names = arguments.only or [case["name"] for case in cases()]
    for name in [] if arguments.table else names:
        done = read().setdefault("networks", {}).get(name)
        states = {each["state"] for each in done["methods"].values()} if done else {"wrong"}
        repeat = arguments.only or (arguments.again and not states <= {"right", "refused"})
        if done and not repeat:
            continue
        result = {**apart(name), "commit": machine()["commit"]}
        known = read()
        known.setdefault("networks", {})[name] = result
        write(known)
        found = {method: each["state"] for method, each in result["methods"].items()}
        print(name, result["seconds"], found, flush=True)
    PAGE.write_text(page(read()))


if __name__ == "__main__":
    main()

"""A SLURM for the tests below, and sweeps on it."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from harness import read
from networks import Plain

sys.path.insert(0, str(Path(__file__).parent))

from cluster import Cluster

ROOT = Path(__file__).parents[2]
IMAGES, TARGETS = 6, 4


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two nodes of one core; `ACCOUNTING = False` in a module leaves out the accounts."""
    # Not in pytest's own folder, which munge refuses.
    with tempfile.TemporaryDirectory() as folder:
        made = Cluster(Path(folder), getattr(request.module, "ACCOUNTING", True))
        try:
            made.start()
            yield made
        finally:
            made.stop()


class Sweep:
    """A command that submits a sweep of small networks, which wait in the middle for the test."""

    def __init__(self, cluster: Cluster, folder: Path, words: list[str]) -> None:
        self.cluster, self.folder, self.results = cluster, folder, folder / "results"
        self.hold = folder / "hold"
        self.hold.touch()
        torch.manual_seed(0)
        torch.save(Plain().state_dict(), folder / "net.pt")
        self.words = [
            *("model=checkpoint", "model.architecture=held:Held", f"model.path={folder}/net.pt"),
            *("model.size=24", "metric=[rmse,cosine]", "logger=none", "pictures=false"),
            *("keep_heatmaps=none", "batch_size=2", "shard_images=1", *words),
        ]
        path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "slurm")))
        self.environment = os.environ | cluster.environment
        self.environment |= {"PYTHONPATH": path, "HELD": str(folder)}
        self.process: subprocess.Popen[str] | None = None

    def command(self, results: Path, *words: str) -> list[str]:
        return [sys.executable, str(ROOT / "run.py"), *self.words, *words, f"results={results}"]

    def start(self, *words: str) -> str:
        """Submit; returns the number of the job array."""
        slurm = ("hydra/launcher=slurm", "hydra.launcher.mem_gb=2", "hydra.launcher.timeout_min=10")
        slurm += ("hydra.launcher.cpus_per_task=1", "hydra.launcher.signal_delay_s=5")
        with (self.folder / "stderr").open("w") as errors:
            self.process = subprocess.Popen(
                self.command(self.results, *slurm, *words),
                env=self.environment,
                stderr=errors,
                text=True,
            )
        self.until(lambda: "submitted" in self.errors() or self.process.poll() is not None)
        found = re.search(r"submitted \d+ jobs? as (\d+)", self.errors())
        assert found, self.errors()
        return found[1]

    def finish(self, *, patience: float = 1200) -> int:
        """Wait for the command to end; returns its exit code."""
        assert self.process is not None
        return self.process.wait(patience)

    def errors(self) -> str:
        """What it has printed to stderr so far."""
        return (self.folder / "stderr").read_text()

    def held(self) -> dict[str, int]:
        """The process of each job that waits in the middle, by number in the array."""
        files = self.folder.glob("held-*")
        return {file.name.removeprefix("held-"): int(file.read_text() or 0) for file in files}

    def release(self) -> None:
        """Let the jobs continue."""
        self.hold.unlink()

    def until(self, is_true: Callable[[], object], patience: float = 600) -> None:
        deadline = time.monotonic() + patience
        while not is_true():
            assert time.monotonic() < deadline, f"{self.errors()}\n{self.cluster.jobs()}"
            time.sleep(0.2)

    def rows(self) -> pd.DataFrame:
        return read(self.results)

    def local_rows(self) -> pd.DataFrame:
        """The rows of one process, without SLURM."""
        results = self.folder / "local"
        subprocess.run([*self.command(results), "-m"], env=self.environment, check=True)
        return read(results)


@pytest.fixture
def sweep(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Sweep]]:
    """Makes a sweep; what is left of it is removed after the test."""
    made: list[Sweep] = []

    def make(*words: str) -> Sweep:
        made.append(Sweep(cluster, tmp_path, list(words)))
        return made[-1]

    yield make
    for each in made:
        if each.process is not None and each.process.poll() is None:
            each.process.kill()
            each.process.wait()
    cluster.output("scancel", "--user=root", "--signal=KILL", "--full")
    for node in ("n0", "n1"):
        cluster.resume(node)

"""Whole sweeps while W&B is well, slow, broken, deaf, down, dead or without a place to write.

Rows and exit code are always those of a sweep without W&B, and nothing is lost: once W&B is well
again, `xai-sweep wandb-sync` uploads every run.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import disks
import pandas as pd
import pytest
from harness import assert_same_science, call, read
from wandb_stub import KEY, Stub

from xai_sweep.tracking import wandb_background, wandb_run
from xai_sweep.tracking.wandb_background import Background
from xai_sweep.tracking.wandb_record import RECORD, is_uploaded
from xai_sweep.tracking.wandb_sync import wandb_sync

pytestmark = pytest.mark.wandb

ROOT = Path(__file__).parents[2]
# The first and the last job end well, the second fails after its log was opened.
WORDS = (
    *("-m", "explainer=grad_cam", "explainer.layer=null,nope,blocks.5", "magnitude=single"),
    *("data.limit=2", "keep_heatmaps=worst", "keep_worst=1"),
)
ENDS = {"": 0, "(layer=blocks.5)": 0, "(layer=nope)": 1}


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    results = tmp_path_factory.mktemp("without")
    assert call(results, *WORDS, "logger=none") == 2
    return read(results)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    with Stub() as stub:
        monkeypatch.setenv("WANDB_BASE_URL", stub.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield stub


@pytest.fixture
def background(monkeypatch: pytest.MonkeyPatch) -> Background:
    """The one of a fresh process; it comes to its end before the server does."""
    fresh = Background()
    monkeypatch.setattr(wandb_run, "background", fresh)
    return fresh


def ends(server: Stub) -> dict[str, int | None]:
    """The exit code of each run by what its name says of the explainer."""
    return {
        run.fields["displayName"].split(" · ")[1].removeprefix("grad_cam"): run.exit_code
        for run in server.runs.values()
    }


def assert_nothing_is_lost(results: Path, server: Stub) -> None:
    server.mode = "ok"
    assert wandb_sync([results]) == 0
    assert ends(server) == ENDS
    assert all(is_uploaded(record) for record in results.rglob(RECORD))
    assert len({run.fields["groupName"] for run in server.runs.values()}) == 1
    for run in server.runs.values():
        tags = [tag.partition(":")[0] for tag in run.fields["tags"]]
        assert tags == ["model", "explainer", "transform", "data"]


@pytest.mark.parametrize("mode", ["ok", "slow", "error", "hang"])
def test_the_server(
    mode: str, tmp_path: Path, server: Stub, background: Background, without: pd.DataFrame
) -> None:
    server.mode = mode
    assert call(tmp_path, *WORDS) == 2
    assert_same_science(read(tmp_path), without)
    # Nothing was waited for: what the server got, it got beside the sweep and after it.
    assert background.finish(100.0) == (mode == "ok")
    if mode == "ok":
        assert ends(server) == ENDS
    else:
        assert not server.runs
    assert_nothing_is_lost(tmp_path, server)


def test_a_server_that_is_down(
    tmp_path: Path,
    server: Stub,
    background: Background,
    without: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        assert call(tmp_path, *WORDS) == 2
        assert_same_science(read(tmp_path), without)
        assert not background.finish(100.0)
    assert_nothing_is_lost(tmp_path, server)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_beside_that_dies_or_hangs(
    how: signal.Signals,
    tmp_path: Path,
    server: Stub,
    background: Background,
    without: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen

    def doomed(*args: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **options))
        os.kill(started[-1].pid, how)
        return started[-1]

    monkeypatch.setattr(wandb_background.subprocess, "Popen", doomed)
    assert call(tmp_path, *WORDS) == 2
    assert not background.finish(1.0)
    assert_same_science(read(tmp_path), without)
    for process in started:
        process.kill()
        process.wait()
    monkeypatch.undo()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert_nothing_is_lost(tmp_path, server)


def in_a_process(results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *words, f"results={results}"],
        cwd=results.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk", megabytes=8) as place:
        yield place


@pytest.mark.parametrize("free", [0, 16, 64], ids=lambda free: f"{free}k")
def test_a_full_disk_for_its_folder(
    free: int, tmp_path: Path, small_disk: Path, server: Stub, without: pd.DataFrame
) -> None:
    for job in ("0", "1", "2"):
        (small_disk / job).mkdir()
        (tmp_path / "sweep" / job).mkdir(parents=True)
        (tmp_path / "sweep" / job / "log").symlink_to(small_disk / job)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        disk = os.statvfs(small_disk)
        file.write(b"0" * (disk.f_bavail * disk.f_bsize - free * 1024))
    results = tmp_path / "results"
    done = in_a_process(results, *WORDS, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert done.returncode == 2
    assert_same_science(read(results), without)
    # Room is made: what is not up by now is here, or where the program said.
    filler.unlink()
    elsewhere = re.findall(r"W&B run kept in (.*): \[Errno 28\]", done.stderr)
    assert len(elsewhere) == 3 if free == 0 else len(elsewhere) < 3
    here = [record.parent for record in small_disk.rglob(RECORD)]
    assert wandb_sync([*map(Path, elsewhere), *here]) == 0
    assert ends(server) == ENDS
    for folder in elsewhere:
        shutil.rmtree(folder)


def test_a_process_that_ends_while_the_server_is_deaf(tmp_path: Path, server: Stub) -> None:
    server.mode = "hang"
    words = [word for word in WORDS if word != "-m" and "layer" not in word]
    done = in_a_process(tmp_path / "results", *words)
    # It came back although nobody ever answered, and says how the run goes up.
    assert done.returncode == 0
    (hint,) = [line for line in done.stderr.splitlines() if line.startswith("W&B")]
    (record,) = tmp_path.rglob(RECORD)
    assert hint == (
        "W&B runs not uploaded yet: 1; if they are not in a while, "
        f"`xai-sweep wandb-sync {record.parent}` uploads them"
    )
    assert not server.runs


def test_many_jobs_at_once_do_not_fall_over_each_other(tmp_path: Path, server: Stub) -> None:
    program = (
        "import sys; from pathlib import Path; from xai_sweep.tracking import Wandb, wandb_run\n"
        "for number in range(25):\n"
        "    name = f'{sys.argv[1]}-{number}'\n"
        "    Wandb().start(Path('jobs', name), name, 'sweep').finish()\n"
        "assert wandb_run.background.finish(500.0)\n"
    )

    def process(number: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, str(number)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=600,
        )

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(process, range(8)))
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 8
    names = sorted(run.fields["displayName"] for run in server.runs.values())
    assert names == sorted(f"{process}-{number}" for process in range(8) for number in range(25))
    assert all(run.exit_code == 0 for run in server.runs.values())

"""Several processes share a job's images: every image once, nothing lost if one of them dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from harness import assert_same_science, call, read, rows
from networks import Plain
from PIL import Image

from xai_sweep.results import heatmaps, manifests
from xai_sweep.store.cell_folder import CellFolder
from xai_sweep.store.shards import number

ROOT = Path(__file__).parents[2]
# One that does not divide by two.
IMAGES = 101
TWO = ("trainer=devices", "trainer.devices=2")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A small network and small photos; one of them cannot be read."""
    base = tmp_path_factory.mktemp("processes")
    (base / "photos").mkdir()
    for index in range(IMAGES):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(base / "photos" / f"{index:03d}.png")
    (base / "photos" / "050.png").write_bytes(b"not a picture")
    torch.manual_seed(0)
    torch.save(Plain().state_dict(), base / "net.pt")
    return [
        *("model=checkpoint", "model.architecture=networks:Plain", f"model.path={base}/net.pt"),
        *("model.size=24", "data=folder", f"data.root={base}/photos", "explainer=saliency"),
        *("transform.angle=[1,10]", "logger=none", "pictures=false", "keep_worst=3"),
        *("metric=[rmse,cosine]", "batch_size=8", "shard_images=8"),
    ]


@pytest.fixture(scope="module")
def one(words: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("one")
    assert call(results, *words) == 0
    return results


def shares(cell: Path) -> list[set[str]]:
    """The images of the shards of even and of odd number, which the two processes wrote."""
    found: list[set[str]] = [set(), set()]
    for shard in CellFolder(cell).shards():
        images = pd.read_parquet(shard, columns=["image_id"])["image_id"]
        found[number(shard) % 2].update(images)
    return found


def test_two_processes_give_the_rows_of_one(
    words: Sequence[str], one: Path, tmp_path: Path
) -> None:
    found = rows(tmp_path, *words, *TWO)
    assert len(found) == IMAGES * 2 * 4
    assert not found.duplicated(["cell", "image_id", "rank"]).any()
    assert_same_science(found, read(one))
    for manifest, expected in zip(manifests(tmp_path), manifests(one), strict=True):
        assert manifest["counts"] == expected["counts"] == {"images": IMAGES, "failed": 1}
        assert manifest["rows"] == expected["rows"]
    for cell in (one / "cells").iterdir():
        kept, expected = heatmaps(tmp_path / "cells" / cell.name), heatmaps(cell)
        assert kept is not None
        assert expected is not None
        assert kept.image_id == expected.image_id
        first, second = shares(tmp_path / "cells" / cell.name)
        assert (len(first), len(second), len(first & second)) == (51, 50, 0)


def test_under_a_multirun_each_job_is_done_once(words: Sequence[str], tmp_path: Path) -> None:
    each = ("transform.angle=1", "seed=0,1", "data.limit=5")
    # A process of its own: it is this command that a process might start again by mistake.
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "-m", *words, *TWO, *each, f"results={tmp_path}"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert len(read(tmp_path)) == 5 * 2 * 4
    (sweep,) = tmp_path.glob("_jobs/*")
    assert sorted(path.parent.name for path in sweep.glob("*/.hydra")) == ["0", "1"]


def children(process: int) -> list[int]:
    return [
        int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ]


def processes_of(process: int) -> list[int]:
    """The processes that a job has started: they are forked by a server."""
    (server,) = [
        child
        for child in children(process)
        if b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    return children(server)


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
@pytest.mark.parametrize(
    ("victim", "signum", "code", "said"),
    [
        ("one", signal.SIGKILL, 2, "process 1 was killed by signal 9; the same command computes"),
        ("one", signal.SIGTERM, 130, "interrupted: the same command goes on from here"),
        ("the job", signal.SIGKILL, -9, ""),
        ("the job", signal.SIGTERM, 130, "interrupted: the same command goes on from here"),
    ],
)
def test_a_process_that_dies_loses_nothing(
    victim: str,
    signum: signal.Signals,
    code: int,
    said: str,
    words: Sequence[str],
    one: Path,
    tmp_path: Path,
) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *words, *TWO, f"results={tmp_path}"],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not any(tmp_path.glob("cells/*/rows-*.parquet")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    processes = processes_of(process.pid)
    assert len(processes) == 2
    os.kill(process.pid if victim == "the job" else processes[1], signum)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code
    assert said in errors
    assert "Traceback" not in errors
    while any(Path(f"/proc/{each}").exists() for each in processes):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert list(tmp_path.glob("cells/*/_manifest.json")) == []

    found = rows(tmp_path, *words)
    assert not found.duplicated(["cell", "image_id", "rank"]).any()
    assert_same_science(found, read(one))


def test_more_processes_than_images(words: Sequence[str], one: Path, tmp_path: Path) -> None:
    found = rows(tmp_path, *words, "data.limit=2", "trainer.devices=3")
    expected = read(one)
    same = [name for name in found.columns if name not in ("cell", "question", "data")]
    few = expected[expected["image_id"].isin(found["image_id"].unique())]
    assert len(few) == 2 * 2 * 4
    assert_same_science(
        found[same].assign(cell=""), few[same].reset_index(drop=True).assign(cell="")
    )


def test_what_the_user_got_wrong_comes_home(
    words: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, *words, *TWO, "ranks=1001") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert line.startswith("error: ranks=1001: must be at most")


def test_what_is_done_is_not_computed_again(words: Sequence[str], tmp_path: Path) -> None:
    few = (*words, "data.limit=5")
    assert call(tmp_path, *few) == 0
    shards = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*/*.parquet")}
    for cell in (tmp_path / "cells").iterdir():
        (cell / "_manifest.json").unlink()
    assert call(tmp_path, *few, *TWO) == 0
    assert len(list(tmp_path.glob("cells/*/_manifest.json"))) == 2
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*/*.parquet")} == shards


@pytest.mark.parametrize("trainer", ["ddp", "default"])
def test_the_number_of_devices_is_what_counts(
    trainer: str, words: Sequence[str], tmp_path: Path
) -> None:
    few = (*words, "data.limit=4", f"trainer={trainer}", "trainer.devices=2")
    assert call(tmp_path, *few) == 0
    (first, second), _ = (shares(cell) for cell in sorted((tmp_path / "cells").iterdir()))
    assert (len(first), len(second)) == (2, 2)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.devices=0", "must be auto, a whole number of at least 1, or a list of GPUs"),
        ("+trainer.strategy=ddp", "must be auto; trainer.devices=N shares a job's images between"),
        ("+trainer.num_nodes=2", "must be 1; on more machines run more jobs"),
    ],
)
def test_what_processes_cannot_do(
    word: str,
    message: str,
    words: Sequence[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(tmp_path, *words, *TWO, word) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert line.startswith(f"error: {word.lstrip('+')}: {message}")


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus(words: Sequence[str], one: Path, tmp_path: Path) -> None:
    assert_same_science(rows(tmp_path, *words, *TWO), read(one))

"""Whole sweeps, several at once on one results folder, killed at random moments: nothing is lost.

Takes minutes: `make test-chaos`. The results room alone: `tests/store/test_chaos.py`.
"""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import chaos
import disks
import pytest
from harness import assert_same_science, call, command, read

from xai_sweep.config.cells import NUMBERS
from xai_sweep.results import heatmaps
from xai_sweep.store.upkeep.prune import leftovers, remove
from xai_sweep.store.upkeep.verify import verify

pytestmark = pytest.mark.chaos

KILLS = 50
# At most so many in one results folder; then the sweep may come to its end.
KILLS_OF_ONE = 12
WORKERS = 3
CELLS = 8


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return chaos.prepare(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="module")
def undisturbed(words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("undisturbed")
    assert call(results, *words) == 0
    assert len(list(results.glob("cells/*/_manifest.json"))) == CELLS
    return results


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["xai_sweep.sweep.compute", "xai_sweep.sweep.running", "chaos"])
    return context


def assert_as_undisturbed(results: Path, undisturbed: Path) -> None:
    assert verify(results).faults == []
    found = read(results)
    assert not found.duplicated(["cell", "image_id", "rank"]).any()
    assert_same_science(found, read(undisturbed))
    # A job that is killed after its last manifest leaves a lease, one that slept a temporary file.
    remove(results, leftovers(results, NUMBERS))
    files = {path.name.split("-")[0] for path in results.glob("cells/*/*")}
    assert files == {"_manifest.json", "_heatmaps", "rows"}
    for cell in (undisturbed / "cells").iterdir():
        kept, expected = heatmaps(results / "cells" / cell.name), heatmaps(cell)
        assert kept is not None
        assert expected is not None
        assert kept.image_id == expected.image_id


def harass(
    results: Path, words: tuple[str, ...], processes: ForkServerContext, dice: random.Random
) -> tuple[int, int]:
    """Kill workers and put them to sleep until the sweep is done; how many of each."""
    printed = results.with_suffix(".txt")
    awake: list[BaseProcess] = []
    asleep: list[BaseProcess] = []
    kills = naps = 0
    while kills < KILLS_OF_ONE:
        while len(awake) < WORKERS:
            # On a host of its own nobody can see that its process is dead.
            host = f"host {kills} {naps}" if dice.random() < 0.5 else ""
            arguments = (results, (*words, "lease_seconds=2"), printed, host)
            awake.append(processes.Process(target=chaos.sweep, args=arguments))
            awake[-1].start()
        time.sleep(dice.uniform(0, 2))
        if any(each.exitcode is not None for each in awake):
            break
        victim = awake.pop(dice.randrange(WORKERS))
        if dice.random() < 0.7:
            victim.kill()
            kills += 1
        else:
            _send(victim, signal.SIGSTOP)
            asleep.append(victim)
            naps += 1
        if asleep and dice.random() < 0.5:
            awake.append(asleep.pop(0))
            _send(awake[-1], signal.SIGCONT)
    for each in asleep:
        _send(each, signal.SIGCONT)
    for each in [*awake, *asleep]:
        each.join(2 * chaos.HANGS)
        assert each.exitcode == 0, printed.read_text()[-5000:]
    return kills, naps


def _send(worker: BaseProcess, signum: int) -> None:
    """Send a signal to a worker, which may have ended by itself since one looked.

    One that ended just before its SIGSTOP is gone when the next worker starts, because
    multiprocessing then reaps all that have ended.
    """
    with suppress(ProcessLookupError):
        os.kill(worker.pid or 0, signum)


def test_killed_at_random_moments(
    words: tuple[str, ...], undisturbed: Path, processes: ForkServerContext, tmp_path: Path
) -> None:
    dice = random.Random(0)
    kills = naps = folders = 0
    while kills < KILLS:
        results = tmp_path / str(folders)
        more, slept = harass(results, words, processes, dice)
        assert call(results, *words) == 0
        assert_as_undisturbed(results, undisturbed)
        kills, naps, folders = kills + more, naps + slept, folders + 1
    print(f"{kills} kills and {naps} naps in {folders} results folders")


def test_sweeps_that_live_do_not_repeat_each_others_cells(
    words: tuple[str, ...], undisturbed: Path, processes: ForkServerContext, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    printed = tmp_path / "printed.txt"
    workers = [
        processes.Process(target=chaos.sweep, args=(results, words, printed, f"host {number}"))
        for number in range(WORKERS)
    ]
    for each in workers:
        each.start()
    for each in workers:
        each.join(2 * chaos.HANGS)
        assert each.exitcode == 0, printed.read_text()[-5000:]
    assert_as_undisturbed(results, undisturbed)
    for cell in (results / "cells").iterdir():
        owners = {path.stem.rpartition("-")[2] for path in cell.glob("rows-*.parquet")}
        assert len(owners) == 1
        assert len(list(cell.glob("rows-*.parquet"))) == chaos.IMAGES


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "small", megabytes=16) as place:
        yield place


@pytest.mark.parametrize("free", [100_000, 400_000, 1_000_000])
def test_a_full_disk(
    free: int,
    words: tuple[str, ...],
    undisturbed: Path,
    processes: ForkServerContext,
    small_disk: Path,
    tmp_path: Path,
) -> None:
    results, printed = small_disk / "results", tmp_path / "printed.txt"
    with (small_disk / "ballast").open("wb") as ballast:
        room = os.statvfs(small_disk)
        ballast.write(b"\0" * (room.f_bavail * room.f_frsize - free))

    def run() -> int | None:
        # Its log file is on the small disk, so it is no job of this process.
        job = processes.Process(target=chaos.sweep, args=(results, words, printed))
        job.start()
        job.join(2 * chaos.HANGS)
        return job.exitcode

    assert run() not in (None, 0)
    assert f"{results}/" in printed.read_text()
    assert ": No space left on device" in printed.read_text()
    assert not list(results.glob("cells/*/*.tmp"))
    assert not list(results.glob("cells/*/_lease*"))
    (small_disk / "ballast").unlink()
    assert run() == 0
    assert_as_undisturbed(results, undisturbed)


def test_shards_damaged_by_hand(
    words: tuple[str, ...], undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, *words) == 0
    shards = sorted(tmp_path.glob("cells/*/rows-*.parquet"))
    flipped, cut = random.Random(1).sample(shards, 2)
    content = bytearray(flipped.read_bytes())
    content[random.Random(2).randrange(len(content))] ^= 4
    flipped.write_bytes(content)
    os.truncate(cut, cut.stat().st_size // 2)
    capsys.readouterr()
    assert command("verify", "--repair", str(tmp_path)) == 1
    named = {
        line.split(": ")[0] for line in capsys.readouterr().out.splitlines() if "cells/" in line
    }
    assert named == {str(flipped), str(cut)}
    kept = {path: path.stat().st_mtime_ns for path in shards if path not in (flipped, cut)}
    assert call(tmp_path, *words) == 0
    assert_as_undisturbed(tmp_path, undisturbed)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept

"""Jobs on one results folder, killed and suspended at random: nothing is lost, nothing twice.

Without a network; `make test-chaos` does it with whole sweeps.
"""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import disks
import numpy as np
import pandas as pd
import pytest
from room import CELLS, ENTRIES, IMAGES, RANKS, compute, job

from xai_sweep.results import heatmaps, load
from xai_sweep.store.entries import Entries
from xai_sweep.store.schema import PRIMARY_KEY
from xai_sweep.store.sharing.lease import acquire
from xai_sweep.store.store import Store
from xai_sweep.store.upkeep.prune import leftovers, remove
from xai_sweep.store.upkeep.verify import verify

EVENTS = 15
SSIM = {"ssim": {"_target_": "metrics.Ssim"}}


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["room"])
    return context


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("undisturbed")
    job(results, pause=0.0)
    return results


def sorted_rows(results: Path) -> pd.DataFrame:
    return load(results).sort_values([*PRIMARY_KEY], ignore_index=True)


def assert_as_undisturbed(results: Path, undisturbed: Path) -> None:
    assert verify(results).faults == []
    pd.testing.assert_frame_equal(sorted_rows(results), sorted_rows(undisturbed))
    # A job that is killed after its last manifest leaves a lease, one that slept a temporary file.
    remove(results, leftovers(results, numbers=0))
    files = [path for path in results.rglob("*") if path.is_file()]
    rows = pd.concat([pd.read_parquet(path) for path in files if path.suffix == ".parquet"])
    assert len(rows) == len(CELLS) * len(IMAGES) * RANKS
    assert not [path for path in files if path.suffix in (".tmp", ".draft")]
    assert not [path for path in files if path.name.startswith("_lease")]
    for name in CELLS:
        kept, expected = heatmaps(results / "cells" / name), heatmaps(undisturbed / "cells" / name)
        assert kept.image_id == expected.image_id
        np.testing.assert_array_equal(kept.new, expected.new)


def disturbed(
    results: Path, processes: ForkServerContext, dice: random.Random, entries: Sequence[Entries]
) -> None:
    """Three jobs at a time, each with some of these entries, killed or suspended at random."""
    awake: list[BaseProcess] = []
    asleep: list[BaseProcess] = []
    for number in range(EVENTS):
        while len(awake) < 3:
            # On a host of its own no other process can see that it is dead.
            host = str(number) if dice.random() < 0.5 else ""
            arguments = (results, host, 0.2, 0.01, 3, dice.choice(entries))
            awake.append(processes.Process(target=job, args=arguments))
            awake[-1].start()
        time.sleep(dice.uniform(0, 0.15))
        victim = awake.pop(dice.randrange(3))
        if dice.random() < 0.5:
            victim.kill()
        elif victim.is_alive():
            os.kill(victim.pid, signal.SIGSTOP)
            asleep.append(victim)
        if asleep and dice.random() < 0.5:
            os.kill(asleep.pop(0).pid, signal.SIGCONT)
    for each in asleep:
        os.kill(each.pid, signal.SIGCONT)


def ended() -> None:
    """Wait for all processes."""
    for each in multiprocessing.active_children():
        each.join(600)
        assert each.exitcode in (0, -signal.SIGKILL)


@pytest.mark.parametrize("seed", range(2))
def test_killed_and_put_to_sleep_at_random(
    seed: int, tmp_path: Path, processes: ForkServerContext, undisturbed: Path
) -> None:
    disturbed(tmp_path, processes, random.Random(seed), [ENTRIES])
    job(tmp_path, seconds=5.0)
    ended()
    assert_as_undisturbed(tmp_path, undisturbed)


def test_extensions_killed_and_put_to_sleep_at_random(
    tmp_path: Path, processes: ForkServerContext, undisturbed: Path, tmp_path_factory
) -> None:
    both = ENTRIES | SSIM
    job(tmp_path, pause=0.0)
    disturbed(tmp_path, processes, random.Random(2), [SSIM, both])
    # Whatever became of the extensions, what was complete still is.
    rmse = sorted_rows(tmp_path).drop(columns="ssim", errors="ignore")
    pd.testing.assert_frame_equal(rmse, sorted_rows(undisturbed), check_exact=True)
    job(tmp_path, seconds=5.0, entries=SSIM)
    ended()
    expected = tmp_path_factory.mktemp("both")
    job(expected, pause=0.0, entries=both)
    assert_as_undisturbed(tmp_path, expected)


def test_running_jobs_do_not_repeat_each_others_cells(
    tmp_path: Path, processes: ForkServerContext, undisturbed: Path
) -> None:
    jobs = [processes.Process(target=job, args=(tmp_path, str(n), 30.0)) for n in range(4)]
    for each in jobs:
        each.start()
    for each in jobs:
        each.join(600)
        assert each.exitcode == 0
    assert_as_undisturbed(tmp_path, undisturbed)
    for name in CELLS:
        shards = [path.stem.split("-") for path in (tmp_path / "cells" / name).glob("rows-*")]
        assert sorted(number for _, number, _ in shards) == [f"{n:05d}" for n in range(5)]
        assert len({owner for _, _, owner in shards}) == 1


@pytest.fixture
def small_disk(tmp_path: Path):
    with disks.small_disk(tmp_path / "small", megabytes=2) as place:
        yield place


@pytest.mark.parametrize("free", [0, 4096, 50_000, 200_000, 1_500_000])
def test_a_full_disk(free: int, small_disk: Path, undisturbed: Path) -> None:
    results = small_disk / "results"
    store = Store(results)
    with (small_disk / "ballast").open("wb") as ballast:
        room = os.statvfs(small_disk)
        ballast.write(b"\0" * (room.f_bavail * room.f_frsize - free))
    if free == 1_500_000:
        job(results, pause=0.0)
    else:
        with pytest.raises(OSError, match="No space left"):
            job(results, pause=0.0)
    assert not list(results.rglob("*.tmp"))
    done = load(results, unfinished=True) if list(results.rglob("*.parquet")) else []
    if free == 200_000:
        assert 0 < len(done) < len(CELLS) * len(IMAGES) * RANKS
    (small_disk / "ballast").unlink()
    job(results, pause=0.0)
    assert_as_undisturbed(results, undisturbed)
    assert store.leases == {}


def test_a_heartbeat_on_a_full_disk(small_disk: Path) -> None:
    held = acquire(small_disk / "cell", 60.0)
    with (small_disk / "ballast").open("wb") as ballast, pytest.raises(OSError, match="space"):
        ballast.write(b"\0" * 4 * 10**6)
    os.utime(held.path, (0, 0))
    held.images = 5
    held.beat()
    assert held.path.stat().st_mtime > 0
    held.check()
    held.release()


def test_a_job_that_cannot_have_its_cells_goes_on_when_the_other_dies(tmp_path: Path) -> None:
    store, other = Store(tmp_path), Store(tmp_path)
    for name in CELLS:
        other.leases[name] = acquire(tmp_path / "cells" / name, 60.0)
        os.utime(other.leases[name].path, (0, 0))
    compute(other, CELLS[:2], 0.0, 3)
    for name in CELLS[2:]:
        os.utime(other.leases[name].path, (0, 0))
    job(tmp_path, pause=0.0)
    assert verify(tmp_path).complete == len(CELLS)
    assert store.leases == {}

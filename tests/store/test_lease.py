import errno
import json
import os
import subprocess
import threading
import time

import pytest

from xai_sweep.results import load
from xai_sweep.store import cell_folder
from xai_sweep.store.process import slurm_job
from xai_sweep.store.sharing import lease
from xai_sweep.store.sharing.lease import Lease, LeaseLostError, Leases, acquire
from xai_sweep.store.sharing.lease_file import Holder, holder, server_time
from xai_sweep.store.store import Store


def change(taken: Lease, age: float = 0.0, **content: object) -> None:
    """Make a lease look as if another host or process had it, or as if it had been silent."""
    found = json.loads(taken.path.read_text()) | content
    taken.path.write_text(json.dumps(found))
    then = time.time() - age
    os.utime(taken.path, (then, then))


def asleep(taken: Lease) -> None:
    """Silent for longer than allowed, on a host of which nothing else is known."""
    change(taken, age=61, machine="elsewhere")


def test_one_of_many_gets_it(tmp_path):
    found = []
    start = threading.Barrier(8)

    def contend():
        start.wait()
        found.append(acquire(tmp_path, 60.0))

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [each for each in found if isinstance(each, Lease)]
    assert {each.owner for each in found} == {winner.owner}
    assert [file.name for file in tmp_path.iterdir()] == ["_lease-00001.json"]


def test_the_others_are_told_who_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    taken = acquire(tmp_path, 60.0)
    taken.images = 3
    taken.beat()
    other = acquire(tmp_path, 60.0)
    assert isinstance(other, Holder)
    assert other.who == f"pid {os.getpid()} on {os.uname().nodename} (SLURM job 4711)"
    assert (other.generation, other.images, other.expires) == (1, 3, 60.0)


def test_an_element_of_a_job_array_is_named_as_slurm_does(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4713")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert slurm_job() == "4711_2"


def test_given_back_it_is_free_and_leaves_nothing(tmp_path):
    acquire(tmp_path, 60.0).release()
    assert list(tmp_path.iterdir()) == []
    assert isinstance(acquire(tmp_path, 60.0), Lease)


def test_a_silent_owner_elsewhere_loses_it(tmp_path):
    first = acquire(tmp_path, 60.0)
    change(first, age=59, machine="elsewhere")
    assert isinstance(acquire(tmp_path, 60.0), Holder)
    asleep(first)
    second = acquire(tmp_path, 60.0)
    assert isinstance(second, Lease)
    with pytest.raises(LeaseLostError, match=rf"taken over by pid {os.getpid()} on"):
        first.check()
    first.beat()
    first.release()
    assert [file.name for file in tmp_path.iterdir()] == ["_lease-00002.json"]
    second.check()


def test_the_patience_is_the_owners(tmp_path):
    change(acquire(tmp_path, 600.0), age=500, machine="elsewhere")
    assert isinstance(acquire(tmp_path, 60.0), Holder)


def test_what_this_hosts_clock_says_does_not_matter(tmp_path, monkeypatch):
    change(acquire(tmp_path, 60.0), machine="elsewhere")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert isinstance(acquire(tmp_path, 60.0), Holder)
    assert server_time(tmp_path) > 1e9


def test_a_dead_owner_on_this_host_loses_it_at_once(tmp_path):
    with subprocess.Popen(["true"]) as process:
        # Over, and its entry among the processes still there.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        change(acquire(tmp_path, 60.0), pid=process.pid)
        second = acquire(tmp_path, 60.0)
    change(second, pid=process.pid)
    assert isinstance(acquire(tmp_path, 60.0), Lease)


def test_a_pid_that_was_given_out_again_is_not_the_owner(tmp_path):
    change(acquire(tmp_path, 60.0), started=1)
    assert isinstance(acquire(tmp_path, 60.0), Lease)


def test_the_same_pid_in_another_container_says_nothing(tmp_path):
    change(acquire(tmp_path, 60.0), started=1, machine="same host, another namespace")
    assert isinstance(acquire(tmp_path, 60.0), Holder)


@pytest.mark.parametrize("text", ["", '{"owner": "ab', "\0" * 100, '{"later": "version"}'])
def test_an_unreadable_lease_counts_until_it_is_old(tmp_path, text):
    file = tmp_path / "_lease-00003.json"
    file.write_text(text)
    assert isinstance(acquire(tmp_path, 60.0), Holder)
    os.utime(file, (0, 0))
    assert acquire(tmp_path, 60.0).path.name == "_lease-00004.json"
    assert not file.exists()


def test_heartbeats(tmp_path):
    with Leases(0.3) as leases:
        taken = leases.acquire(tmp_path)
        os.utime(taken.path, (0, 0))
        taken.images = 7
        deadline = time.monotonic() + 10
        while (found := holder(tmp_path)).heartbeat == 0:
            assert time.monotonic() < deadline
        assert (found.images, found.owner) == (7, taken.owner)
    assert holder(tmp_path) is None


def test_a_heartbeat_needs_no_room(tmp_path, monkeypatch):
    taken = acquire(tmp_path, 60.0)
    os.utime(taken.path, (0, 0))

    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.open", refuse)
        taken.beat()
    assert holder(tmp_path).heartbeat > 0


def test_without_hard_links_it_is_exclusive_too(tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    taken = acquire(tmp_path, 60.0)
    assert holder(tmp_path).owner == taken.owner
    assert not lease._create(tmp_path / "_lease-00001.json", taken.path)


def test_a_success_that_the_network_reported_as_failure(tmp_path, monkeypatch):
    link = os.link

    def lie(*args):
        link(*args)
        raise FileExistsError

    monkeypatch.setattr(os, "link", lie)
    assert isinstance(acquire(tmp_path, 60.0), Lease)


def test_an_old_list_of_the_folder_is_found_out(tmp_path, monkeypatch):
    other = acquire(tmp_path, 60.0)
    other.path.rename(tmp_path / "_lease-00002.json")
    answers = iter([None])
    monkeypatch.setattr(lease, "holder", lambda folder: next(answers, holder(folder)))
    assert isinstance(acquire(tmp_path, 60.0), Holder)
    assert [file.name for file in tmp_path.iterdir()] == ["_lease-00002.json"]


def test_drafts_of_killed_processes_go(tmp_path):
    old, new = tmp_path / "_lease-aa.draft", tmp_path / "_lease-bb.draft"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    acquire(tmp_path, 60.0)
    assert not old.exists()
    assert new.exists()


@pytest.fixture
def sleeper(tmp_path, make_table, make_heatmaps):
    """A cell with one shard, whose job fell asleep and is awake again, and the job after it."""
    store = Store(tmp_path)
    store.leases["c"] = acquire(tmp_path / "cells" / "c", 60.0)
    first = store.cell("c")
    assert first.begin() == set()
    first.write(make_table(["cat"]), make_heatmaps(["cat"]))
    asleep(first.lease)
    second = Store(tmp_path, {"c": acquire(first.path, 60.0)}).cell("c")
    assert second.begin() == {"cat"}
    return first, second


@pytest.fixture
def blind(monkeypatch):
    """Takes the first look at its lease from a job, as if it fell asleep right after it."""

    def make_blind(taken: Lease) -> None:
        check = taken.check

        def later() -> None:
            monkeypatch.setattr(taken, "check", check)

        monkeypatch.setattr(taken, "check", later)

    return make_blind


def finished_rows(tmp_path):
    rows = load(tmp_path)
    return list(zip(rows["image_id"], rows["rank"], strict=True))


def names(cell, pattern):
    return {path.name for path in cell.path.glob(pattern)}


EVERY = [("cat", 1), ("cat", 2), ("page", 1), ("page", 2)]


def test_who_has_lost_a_cell_writes_nothing_more(sleeper, tmp_path, make_table, make_heatmaps):
    first, second = sleeper
    for late in (
        lambda: first.write(make_table(["page"]), make_heatmaps(["page"])),
        lambda: first.finish({}),
    ):
        with pytest.raises(LeaseLostError):
            late()
    assert first.begin(force=True) == set()
    assert len(names(second, "*.npz")) == 1
    second.write(make_table(["page"]), make_heatmaps(["page"]))
    second.finish({})
    assert finished_rows(tmp_path) == EVERY


def test_what_it_wrote_all_the_same_does_not_count(
    sleeper, blind, tmp_path, make_table, make_heatmaps, monkeypatch
):
    first, second = sleeper
    blind(first.lease)
    with pytest.raises(LeaseLostError):
        first.write(make_table(["page"]), make_heatmaps(["page"]))
    second.write(make_table(["page"]), make_heatmaps(["page"]))
    assert len(names(second, "rows-*")) == 3
    write = cell_folder.write_json

    def and_once_more(path, manifest, before):
        assert {said["name"] for said in manifest["shards"]} == names(second, "rows-*")
        (path.parent / "rows-00009-0badcafe.parquet").write_bytes(b"in the last moment")
        write(path, manifest, before)

    monkeypatch.setattr(cell_folder, "write_json", and_once_more)
    second.finish({})
    assert finished_rows(tmp_path) == EVERY
    assert len(names(second, "rows-*")) == len(names(second, "_heat*")) == 2


def test_after_the_manifest_it_takes_it_back(sleeper, blind, tmp_path, make_table, make_heatmaps):
    first, second = sleeper
    second.write(make_table(["page"]), make_heatmaps(["page"]))
    second.finish({})
    files = sorted(second.path.iterdir())
    blind(first.lease)
    with pytest.raises(LeaseLostError):
        first.write(make_table(["page"]), make_heatmaps(["page"]))
    assert sorted(second.path.iterdir()) == files


def test_an_image_in_two_shards_is_kept_once(sleeper, blind, tmp_path, make_table):
    first, second = sleeper
    second.write(make_table(["page"]))
    blind(first.lease)
    with pytest.raises(LeaseLostError):
        first.write(make_table(["moon", "page"]))
    # and now the second dies
    asleep(second.lease)
    third = Store(tmp_path, {"c": acquire(first.path, 60.0)}).cell("c")
    assert third.begin() == {"cat", "page"}
    third.write(make_table(["moon"]))
    third.finish({})
    assert finished_rows(tmp_path) == [*EVERY, ("moon", 1), ("moon", 2)]


def test_an_error_that_the_takeover_caused_is_called_so(sleeper, make_table, monkeypatch):
    first, _ = sleeper

    def vanished(*_args, **_kwargs):
        raise FileNotFoundError("the next job has tidied up")

    monkeypatch.setattr("pyarrow.parquet.write_table", vanished)
    with pytest.raises(LeaseLostError):
        first.write(make_table(["page"]))

import json
import logging
import os

import pytest
from stored import COLUMNS, ENTRIES

from xai_sweep.store.sharing import turns as module
from xai_sweep.store.sharing.lease import LeaseLostError, acquire
from xai_sweep.store.sharing.turns import Turns, turns
from xai_sweep.store.store import Store
from xai_sweep.store.writer import CellWriter

CELLS = ["a", "b", "c"]
WANTED = dict.fromkeys(CELLS, ENTRIES)


@pytest.fixture
def meanwhile(monkeypatch):
    """What the other job does while this one waits, step by step."""
    steps = []

    def sleep(_seconds: float) -> None:
        steps.pop(0)()

    monkeypatch.setattr(module.time, "sleep", sleep)
    return steps


def test_alone_it_gets_all_at_once(tmp_path, complete):
    store = Store(tmp_path)
    complete(store, "b")
    groups = []
    for group in turns(store, WANTED, 60.0):
        groups.append(group)
        for name in group:
            complete(store, name)
    assert groups == [["a", "c"]]
    assert not list(tmp_path.rglob("_lease*"))
    assert store.leases == {}


def test_what_others_compute_is_waited_for_and_not_computed(tmp_path, complete, meanwhile, caplog):
    other, store = Store(tmp_path), Store(tmp_path)
    with Turns(other, WANTED, 60.0) as theirs:
        assert theirs.take(["b"]) == ["b"]
        meanwhile += [lambda: None, lambda: (complete(other, "b"), theirs.release(["b"]))]
        groups = []
        for group in turns(store, WANTED, 60.0):
            groups.append(group)
            for name in group:
                complete(store, name)
    assert groups == [["a", "c"]]
    assert meanwhile == []
    (line,) = caplog.messages
    assert line.startswith(f"b is computed by pid {os.getpid()} on {os.uname().nodename}, last hea")
    assert line.endswith("waiting until it is complete, or silent for 60 s")


def test_what_another_gives_up_is_taken(tmp_path, complete, meanwhile):
    other, store = Store(tmp_path), Store(tmp_path)
    with Turns(other, WANTED, 60.0) as theirs:
        theirs.take(["b", "c"])

        def die() -> None:
            path = other.leases["c"].path
            path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": "elsewhere"}))
            os.utime(path, (0, 0))

        meanwhile += [lambda: theirs.release(["b"]), die]
        groups = []
        for group in turns(store, WANTED, 60.0):
            groups.append(group)
            for name in group:
                complete(store, name)
    assert groups == [["a"], ["b"], ["c"]]


def test_a_cell_that_was_not_completed_does_not_come_again(tmp_path):
    assert list(turns(Store(tmp_path), WANTED, 60.0)) == [CELLS]


def test_an_exception_gives_everything_back(tmp_path):
    def work() -> None:
        for _group in turns(Store(tmp_path), WANTED, 60.0):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert not list(tmp_path.rglob("_lease*"))


def test_one_that_another_completed_before_the_lease_was_there_is_left(
    tmp_path, complete, monkeypatch
):
    store = Store(tmp_path)

    def faster(leases, folder):
        complete(Store(tmp_path), folder.name)
        return acquire(folder, leases.seconds)

    monkeypatch.setattr(module.Leases, "acquire", faster)
    monkeypatch.setattr(module.Leases, "release", lambda _leases, lease: lease.release())
    assert list(turns(store, {"a": ENTRIES}, 60.0)) == []
    assert not list(tmp_path.rglob("_lease*"))


def test_force_takes_complete_cells_once(tmp_path, complete):
    store = Store(tmp_path)
    for name in CELLS:
        complete(store, name, finished="before")
    groups = []
    for group in turns(store, WANTED, 60.0, force=True):
        groups.append(group)
        for name in group:
            complete(store, name)
    assert groups == [CELLS]


def test_force_accepts_what_another_computed_meanwhile(tmp_path, complete, meanwhile):
    other, store = Store(tmp_path), Store(tmp_path)
    complete(store, "a", finished="before")
    with Turns(other, WANTED, 60.0, force=True) as theirs:
        theirs.take(["a"])
        meanwhile += [lambda: (complete(other, "a"), theirs.release(["a"]))]
        assert list(turns(store, {"a": ENTRIES}, 60.0, force=True)) == []


def test_a_writer_whose_cell_was_taken_over_stops_and_the_job_waits(
    tmp_path, complete, meanwhile, make_rows, caplog
):
    store, other = Store(tmp_path), Store(tmp_path)
    caplog.set_level(logging.WARNING)

    def take_over() -> None:
        mine = store.leases["a"]
        mine.path.write_text(json.dumps({"owner": mine.owner}))
        os.utime(mine.path, (0, 0))
        other.leases["a"] = acquire(mine.path.parent, 60.0)

    def finish() -> None:
        complete(other, "a")
        other.leases["a"].release()

    meanwhile.append(finish)
    for group in turns(store, {"a": ENTRIES, "b": ENTRIES}, 60.0):
        assert group == ["a", "b"]
        writers = []
        for name in group:
            folder = store.cell(name)
            writers.append(CellWriter(folder, folder.begin(), {}, COLUMNS, 1, None, ENTRIES))
        writers[0].add("moon", make_rows(["moon"]), None)
        take_over()
        for writer in writers:
            writer.add("cat", make_rows(["cat"]), None)
            writer.add("page", make_rows(["page"]), None)
        (line,) = caplog.messages
        assert "taken over by pid" in line
        with pytest.raises(LeaseLostError):
            writers[0].close(expected=2)
        writers[1].close(expected=2)
        writers[1].folder.finish({})
    assert meanwhile == []
    assert len(caplog.messages) == 2  # that it was lost, and who is waited for
    assert store.cell("a").manifest()["rows"] == 8


def test_the_lease_says_how_far_the_job_is(tmp_path, make_rows, make_table):
    store = Store(tmp_path)
    with Turns(store, WANTED, 60.0) as mine:
        mine.take(["a"])
        folder = store.cell("a")
        folder.begin()
        folder.write(make_table(["cat"]))
        writer = CellWriter(folder, folder.begin(), {}, COLUMNS, 9, None, ENTRIES)
        for image in ("cat", "moon", "page"):
            writer.add(image, make_rows([image]), None)
        assert (folder.lease.there, folder.lease.images) == (1, 2)


def test_a_decision_takes_no_hashing(tmp_path, complete, monkeypatch):
    store = Store(tmp_path)
    complete(store, "a")
    monkeypatch.setattr("hashlib.file_digest", None)
    monkeypatch.setattr("pyarrow.parquet.ParquetFile", None)
    assert list(turns(store, {"a": ENTRIES}, 60.0)) == []

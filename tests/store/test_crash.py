"""Killed at any moment and called again, a run gives what an undisturbed one gives."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from xai_sweep.results import heatmaps, load
from xai_sweep.store.store import Store

IMAGES = (("moon", "cat"), ("page", "coffee"), ("rocket", "sky"))
CALLS = ("fsync", "replace", "unlink")


class Killed(BaseException):
    """Stands for SIGKILL: nothing that comes after it reaches the disk."""


class Killer:
    """Lets the first `count` calls that reach the disk through, and none after them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        self.left = count
        for name in CALLS:
            monkeypatch.setattr(os, name, self._deadly(getattr(os, name)))

    def _deadly(self, call):
        def counted(target, *args, **kwargs):
            if self.left == 0:
                if call.__name__ == "fsync" and os.fstat(target).st_mode & 0o100000:
                    os.truncate(target, os.fstat(target).st_size // 2)  # not all reached the disk
                raise Killed
            self.left -= 1
            return call(target, *args, **kwargs)

        return counted


def _run(root, make_table, make_heatmaps, keep_worst):
    """What a job does: returns the images that it had to compute."""
    cell = Store(root).cell("c")
    if cell.manifest() is not None:
        return []
    done = cell.begin()
    computed = []
    for shard in IMAGES:
        if todo := [image for image in shard if image not in done]:
            cell.write(make_table(todo, failed=["sky"]), make_heatmaps(todo))
            computed += todo
    cell.finish({"seed": 0}, keep_worst)
    return computed


def _state(root):
    kept = heatmaps(root / "cells" / "c")
    order = sorted(range(len(kept)), key=kept.image_id.__getitem__)
    rows = load(root).sort_values(["image_id", "rank"], ignore_index=True)
    return rows, kept.select(order)


@pytest.mark.parametrize("keep_worst", [None, 3])
def test_every_point_at_which_a_run_can_be_killed(tmp_path, make_table, make_heatmaps, keep_worst):
    def run(root):
        return _run(root, make_table, make_heatmaps, keep_worst)

    run(tmp_path / "whole")
    rows, kept = _state(tmp_path / "whole")
    for count in range(1000):
        root = tmp_path / str(count)
        with pytest.MonkeyPatch.context() as patch:
            Killer(patch, count)
            try:
                run(root)
                break
            except Killed:
                pass
        cell = Store(root).cell("c")
        if cell.manifest() is None:
            run(root)
        rows_again, kept_again = _state(root)
        pd.testing.assert_frame_equal(rows_again, rows)
        assert kept_again.image_id == kept.image_id, f"killed at call {count}"
        assert (kept_again.new == kept.new).all()
        assert (kept_again.photo == kept.photo).all()
        assert not list(root.glob("cells/c/*.tmp"))
        assert run(root) == []
    # marker 3 calls, 3 shards and 3 heatmaps 3 calls each, manifest 3; merging 3 and 3 removals
    assert count >= 24 + (6 if keep_worst else 0)


def test_killed_twice_at_different_points(tmp_path, make_table, make_heatmaps):
    _run(tmp_path / "whole", make_table, make_heatmaps, 2)
    rows, kept = _state(tmp_path / "whole")
    for first, second in ((10, 8), (25, 3), (27, 1), (28, 2), (29, 0)):
        root = tmp_path / f"{first}-{second}"
        for count in (first, second):
            with pytest.MonkeyPatch.context() as patch:
                Killer(patch, count)
                with pytest.raises(Killed):
                    _run(root, make_table, make_heatmaps, 2)
        _run(root, make_table, make_heatmaps, 2)
        rows_again, kept_again = _state(root)
        pd.testing.assert_frame_equal(rows_again, rows)
        assert kept_again.image_id == kept.image_id


def test_finished_shards_are_not_computed_again(tmp_path, make_table, make_heatmaps):
    with pytest.MonkeyPatch.context() as patch:
        Killer(patch, 3 + 6 + 4)  # in the middle of the second shard
        with pytest.raises(Killed):
            _run(tmp_path, make_table, make_heatmaps, None)
    assert _run(tmp_path, make_table, make_heatmaps, None) == ["page", "coffee", "rocket", "sky"]


def test_an_exception_leaves_no_temporary_file(tmp_path, make_table, monkeypatch):
    cell = Store(tmp_path).cell("c")
    cell.begin()
    monkeypatch.setattr(os, "fsync", lambda _file: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(OSError, match="No space"):
        cell.write(make_table(["cat"]))
    assert list(cell.path.iterdir()) == []


ENDLESS = """
import sys, pathlib
import pyarrow as pa
from xai_sweep.store.store import Store
from xai_sweep.store.schema import schema, table
kinds = {"string": "x", "bool": True}
template = {f.name: kinds.get(str(f.type), 1) for f in schema([])}
cell = Store(pathlib.Path(sys.argv[1])).cell("c")
cell.begin()
for number in range(100_000):
    cell.write(table([template | {"image_id": f"{number:06d}"}], []))
    print(number, flush=True)
"""


def test_sigkill(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        while process.stdout.readline() != "20\n":
            assert process.poll() is None
        time.sleep(0.0137)
        process.send_signal(signal.SIGKILL)
        reported = 20 + len(process.stdout.read().split())
    done = Store(tmp_path).cell("c").begin()
    assert done == {f"{number:06d}" for number in range(len(done))}
    assert reported + 1 <= len(done) <= reported + 2
    assert len(load(tmp_path, unfinished=True)) == len(done)

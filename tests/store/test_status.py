"""What is done, running, failed and missing, told from files alone."""

import json
import os

import pytest

from xai_sweep.core.errors import InputError
from xai_sweep.store.plans import Planned, read_plans, write_plan
from xai_sweep.store.sharing.lease import acquire
from xai_sweep.store.store import Store
from xai_sweep.store.upkeep.status import left, status


def planned(name, **changed):
    known = {"data": "photos-0c0ffee0", "model": "vgg16", "explainer": "lrp", "images": 4}
    known |= {"transform": "rotation", "parameter": "angle", "magnitude": 10.0, "ranks": 2}
    return Planned(name, **(known | {"request": name} | changed))


@pytest.fixture
def sweep(tmp_path, complete, make_table):
    """Six planned cells, each as far as another one."""
    store = Store(tmp_path)
    names = ["done", "running", "failed", "begun", "dead", "never"]
    write_plan(tmp_path, [planned(name) for name in names])
    complete(store, "done", request="done", model="vgg16", data="photos-0c0ffee0")
    held = acquire(tmp_path / "cells" / "running", 60.0)
    held.images, held.there = 2, 1
    held.beat()
    for name in ("failed", "begun", "dead"):
        cell = store.cell(name)
        cell.begin()
        cell.write(make_table(["cat"]))
    (tmp_path / "_failures").mkdir()
    (tmp_path / "_failures" / "x.json").write_text(json.dumps({"cells": ["failed", "done"]}))
    dead = acquire(tmp_path / "cells" / "dead", 60.0)
    dead.path.write_text(json.dumps({"images": 3}))
    os.utime(dead.path, (0, 0))
    return tmp_path


def test_every_state(sweep):
    found = {cell.planned.name: (cell.state, cell.images) for cell in status(sweep)}
    assert found == {
        "done": ("done", 4),
        "running": ("running", 3),
        "failed": ("failed", 1),
        "begun": ("missing", 1),
        "dead": ("missing", 1),
        "never": ("missing", 0),
    }
    (done,) = [cell for cell in status(sweep) if cell.state == "done"]
    assert (done.planned.model, done.failed_images) == ("vgg16", 1)


def test_a_damaged_cell_is_missing(sweep):
    (sweep / "cells" / "done" / "rows-00000.parquet").unlink()
    assert [cell.state for cell in status(sweep) if cell.planned.name == "done"] == ["failed"]


def test_the_time_left(sweep):
    path = sweep / "cells" / "running" / "_lease-00001.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 4.0}))
    cells = status(sweep)
    (running,) = [cell for cell in cells if cell.state == "running"]
    assert running.rate == 2 / 4
    # 1 of running, 3 of begun, 3 of dead, 4 of never; who failed is not waited for
    assert left(cells) == 11 / 0.5
    assert left([cell for cell in cells if cell is not running]) is None
    write_plan(sweep, [planned("unknown", images=None)])
    assert left(status(sweep)) is None


def test_shards_tell_how_far_a_job_of_several_processes_is(sweep, make_table):
    cell = Store(sweep).cell("running")
    cell.write(make_table(["cat", "moon", "page", "rocket"]))
    (running,) = [each for each in status(sweep) if each.state == "running"]
    assert running.images == 4


def test_only_what_is_wanted(sweep):
    wanted = [planned("", data="photos", request=name) for name in ("done", "begun", "new", "new")]
    cells = status(sweep, wanted)
    assert [(cell.planned.name, cell.state) for cell in cells] == [
        ("done", "done"),
        ("begun", "missing"),
        ("", "missing"),
        ("", "missing"),
    ]
    assert cells[-1].planned.images == 4  # as many as other cells of the same data


def test_a_cell_that_was_asked_for_in_another_way_is_found(sweep):
    """The same weights have another path, which its manifest does not know."""
    write_plan(sweep, [planned("", data="photos", request="other path")], "points-1")
    assert [cell.planned.request for cell in status(sweep)][-1] == "other path"
    write_plan(sweep, [planned("done", request="other path")])
    assert "other path" not in [cell.planned.request for cell in status(sweep)]
    (found,) = status(sweep, [planned("", data="photos", request="other path")])
    assert (found.planned.name, found.state) == ("done", "done")


def test_the_same_question_about_two_sets_of_images(sweep, complete):
    complete(Store(sweep), "other", request="begun", data="photos-ffffffff")
    wanted = [planned("", data="photos", request="begun")] * 3
    found = [(cell.planned.name, cell.state) for cell in status(sweep, wanted)]
    assert found == [("other", "done"), ("begun", "missing"), ("", "missing")]
    assert status(sweep, [planned("", data="samples", request="begun")])[0].planned.name == ""


def test_a_plan_is_written_once(tmp_path):
    Store(tmp_path)
    write_plan(tmp_path, [planned("a"), planned("b")])
    (path,) = (tmp_path / "_plans").iterdir()
    os.utime(path, (0, 0))
    write_plan(tmp_path, [planned("a"), planned("b")])
    assert path.stat().st_mtime == 0
    write_plan(tmp_path, [planned("b"), planned("c")])
    assert read_plans(tmp_path) == {name: planned(name) for name in "abc"}


def test_plans_of_other_versions_and_half_written_ones_do_no_harm(tmp_path):
    Store(tmp_path)
    write_plan(tmp_path, [planned("a")])
    for name, text in {
        "later": '{"cells": [{"name": "b", "colour": "blue"}]}',
        "half": '{"cells": [{"na',
        "other": "{}",
    }.items():
        (tmp_path / "_plans" / f"{name}.json").write_text(text)
    assert read_plans(tmp_path) == {"a": planned("a"), "b": Planned("b")}


def test_nothing_is_written_and_a_folder_that_cannot_be_written_is_no_obstacle(sweep, monkeypatch):
    before = sorted(sweep.rglob("*"))
    usual = status(sweep)
    assert sorted(sweep.rglob("*")) == before

    def refuse(*_args):
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    assert [cell.state for cell in status(sweep)] == [cell.state for cell in usual]


def test_another_schema_version_is_refused(sweep):
    path = sweep / "cells" / "done" / "_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 1}))
    with pytest.raises(InputError, match=r"^path=.* _manifest.json has version 1: nothing was"):
        status(sweep)

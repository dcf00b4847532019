"""Leftovers go, and nothing that is needed."""

import os

import pandas as pd
import pytest

from xai_sweep.results import heatmaps, load
from xai_sweep.store.plans import Planned, write_plan
from xai_sweep.store.sharing.lease import acquire
from xai_sweep.store.store import Store
from xai_sweep.store.upkeep.prune import leftovers, remove

NUMBERS = 2


def aged(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (0, 0))
    return path


@pytest.fixture
def littered(tmp_path, complete, make_table, make_heatmaps):
    """Two good cells, and the path of everything that is not needed, with why."""
    store = Store(tmp_path)
    good = complete(store, "good", identity={"numbers": NUMBERS}, request="path")
    begun = store.cell("begun")
    begun.begin()
    begun.write(make_table(["cat"]), make_heatmaps(["cat"]))
    old = complete(store, "old", identity={"numbers": 1})
    killed = "temporary file of a killed process"
    litter = {
        aged(good.path / "_rows-00007.parquet.ab.tmp"): killed,
        aged(good.path / "_lease-ab.draft"): killed,
        aged(begun.path / "_heatmaps-00007-ab.npz.cd.tmp"): killed,
        aged(begun.path / "_lease-00003.json", b"{}"): "lease of a dead job",
        good.write(make_table(["cat"])): "not listed in the manifest",
        old.path: "cell of a version that gave other numbers",
        aged(tmp_path / "_figures" / "a" / "_curves.png.ab.tmp"): killed,
        aged(tmp_path / "_fits" / "_patterns.ab.tmp"): killed,
        aged(tmp_path / "__xai_sweep.json.ab.tmp"): killed,
    }
    begun.write(make_table(["moon"]), make_heatmaps(["moon"])).unlink()
    litter[begun.path / "_heatmaps-00001.npz"] = "heatmaps of images without rows"
    made_good, failed = tmp_path / "_failures" / "a.json", tmp_path / "_failures" / "b.json"
    aged(made_good, b'{"cells": ["good"]}')
    aged(failed, b'{"cells": ["good", "begun"]}')
    aged(failed.with_name("point.json"), b'{"cells": []}')
    litter[made_good] = "record of a failure that was fixed"
    for names, numbers, why in (
        (["good"], NUMBERS, "plan whose cells are complete"),
        (["good", "begun"], NUMBERS, None),
        (["good", "never begun"], NUMBERS, None),
        (["old"], 1, "plan of a version that gave other numbers"),
    ):
        before = set(tmp_path.glob("_plans/*"))
        write_plan(tmp_path, [Planned(name, numbers=numbers, request="path") for name in names])
        if why is not None:
            litter |= dict.fromkeys(set(tmp_path.glob("_plans/*")) - before, why)
    # The only record that the cell was asked for by another path of the weights.
    write_plan(tmp_path, [Planned("good", numbers=NUMBERS, request="another path")])
    return tmp_path, litter


def test_everything_is_listed_and_nothing_else(littered):
    root, litter = littered
    found = leftovers(root, NUMBERS)
    assert {each.path: each.why for each in found} == litter


def test_removed_it_is_gone_and_the_rest_as_before(littered):
    root, litter = littered
    rows = load(root / "cells" / "good"), load(root, unfinished=True)
    maps = heatmaps(root / "cells" / "good")
    files = {path for path in root.rglob("*") if path.is_file()}
    assert remove(root, leftovers(root, NUMBERS)) == []
    gone = files - {path for path in root.rglob("*") if path.is_file()}
    expected = {path for path in files if path in litter or path.parent in litter}
    assert gone == expected
    pd.testing.assert_frame_equal(load(root / "cells" / "good"), rows[0])
    assert len(load(root, unfinished=True)) == len(rows[1]) - 8  # those of the old cell
    assert heatmaps(root / "cells" / "good").image_id == maps.image_id
    assert leftovers(root, NUMBERS) == []


def test_cells_that_a_job_holds_and_young_files_are_left(littered):
    root, _ = littered
    for name in ("good", "begun", "old"):
        acquire(root / "cells" / name, 60.0)
    for file in root.rglob("*.tmp"):
        os.utime(file)
    found = {each.path.name for each in leftovers(root, NUMBERS) if each.path.parent.parent != root}
    assert found == set()


def test_a_job_that_comes_in_between_keeps_its_cell(littered):
    root, litter = littered
    found = leftovers(root, NUMBERS)
    acquire(root / "cells" / "good", 60.0)
    kept = {each.path for each in remove(root, found)}
    assert kept == {path for path in litter if path.parent == root / "cells" / "good"}

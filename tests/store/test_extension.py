"""A metric is added to a complete cell: what was there keeps its values and is never at risk."""

import json
import os

import pandas as pd
import pytest
from killing import Killed, kill_at
from room import CELLS, ENTRIES, IMAGES, RANKS, job
from stored import ENTRIES as USUAL
from stored import METRICS

from xai_sweep.core.errors import InputError
from xai_sweep.results import heatmaps, load
from xai_sweep.store.manifest import read_columns
from xai_sweep.store.plans import Planned, write_plan
from xai_sweep.store.sharing.lease import acquire
from xai_sweep.store.sharing.turns import Turns, turns
from xai_sweep.store.store import Store
from xai_sweep.store.upkeep.compact import compact
from xai_sweep.store.upkeep.prune import leftovers, remove
from xai_sweep.store.upkeep.status import status
from xai_sweep.store.upkeep.verify import verify

RMSE = {"rmse": USUAL["rmse"]}
SSIM = {"ssim": {"_target_": "metrics.ssim", "window": 11}}
BOTH = RMSE | SSIM
IMAGE_GROUPS = (["cat"], ["moon", "page"])


def extend(store, make_table, make_heatmaps, wanted, keep_worst=None, name="c"):
    """What a job does; returns the images that it had to compute."""
    cell = store.cell(name)
    if cell.missing(wanted) == set():
        return []
    entries = cell.union(wanted)
    done = cell.begin(entries, entries)
    computed = []
    for group in IMAGE_GROUPS:
        if todo := [image for image in group if image not in done]:
            given = {"ssim": 0.25} if "ssim" in entries else {}
            cell.write(make_table(todo, ["page"], entries, **given), make_heatmaps(todo))
            computed += todo
    cell.finish({"finished": "now", "counts": cell.counts()}, keep_worst)
    return computed


def rows(root):
    return load(root).sort_values(["image_id", "draw", "rank"], ignore_index=True)


@pytest.fixture
def run(make_table, make_heatmaps):
    return lambda root, wanted, keep_worst=None: extend(
        Store(root), make_table, make_heatmaps, wanted, keep_worst
    )


@pytest.mark.parametrize("keep_worst", [None, 2])
def test_old_values_stay_to_the_bit_and_the_column_is_added(tmp_path, run, keep_worst):
    assert run(tmp_path, RMSE, keep_worst) == ["cat", "moon", "page"]
    before, kept = rows(tmp_path), heatmaps(tmp_path / "cells" / "c").image_id
    assert run(tmp_path, SSIM, keep_worst) == ["cat", "moon", "page"]
    after = rows(tmp_path)
    pd.testing.assert_frame_equal(after.drop(columns="ssim"), before, check_exact=True)
    assert after["ssim"].dropna().tolist() == [0.25] * 6
    assert run(tmp_path, BOTH) == run(tmp_path, RMSE) == []
    cell = Store(tmp_path).cell("c")
    assert cell.manifest()["metrics"] == BOTH
    assert [column.name for column in read_columns(cell.manifest())] == ["rmse", "ssim"]
    assert set(heatmaps(cell.path).image_id) == set(kept)
    assert len(cell.shards()) == 2
    assert verify(tmp_path).faults == []
    assert leftovers(tmp_path, numbers=0) == []


def test_what_is_missing(tmp_path, run):
    cell = Store(tmp_path).cell("c")
    assert cell.missing(RMSE) is None
    run(tmp_path, RMSE)
    assert cell.missing(RMSE) == set()
    assert cell.missing(BOTH) == {"ssim"}
    assert cell.union(SSIM) == BOTH
    (cell.path / "rows-00000.parquet").unlink()
    assert cell.missing(RMSE) is None


def test_another_configuration_of_the_same_entry_is_refused(tmp_path, run):
    run(tmp_path, BOTH)
    cell = Store(tmp_path).cell("c")
    other = {"ssim": {"_target_": "metrics.ssim", "window": 7}}
    text = (
        "metric.ssim.window=7: the complete cell c holds ssim computed with window=11; "
        "ask for the same, or choose another results folder"
    )

    def ask_for_turns(wanted):
        return list(turns(Store(tmp_path), {"c": wanted}, 60.0))

    for ask in (cell.missing, cell.union, ask_for_turns):
        with pytest.raises(InputError) as caught:
            ask(other)
        assert str(caught.value) == text
    assert cell.manifest()["metrics"] == BOTH
    with pytest.raises(InputError, match=r"^metric.ssim.window=null: .* computed with window=11;"):
        cell.missing({"ssim": {"_target_": "metrics.ssim"}})
    assert cell.union(other, force=True) == RMSE | other


@pytest.mark.parametrize("keep_worst", [None, 2])
def test_killed_at_every_point_either_the_old_or_the_new_cell_is_readable(
    tmp_path, run, keep_worst
):
    run(tmp_path / "old", RMSE, keep_worst)
    run(tmp_path / "new", BOTH, keep_worst)
    old, new = rows(tmp_path / "old"), rows(tmp_path / "new")
    was_old = was_new = 0
    for count in range(200):
        root = tmp_path / str(count)
        run(root, RMSE, keep_worst)
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, count)
            try:
                run(root, BOTH, keep_worst)
                break
            except Killed:
                pass
        found = rows(root)
        if "ssim" in found:
            pd.testing.assert_frame_equal(found, new, check_exact=True)
            was_new += 1
        else:
            pd.testing.assert_frame_equal(found, old, check_exact=True)
            was_old += 1
        assert set(heatmaps(root / "cells" / "c").image_id) >= (
            {"cat", "moon", "page"} if keep_worst is None else {"cat", "page"}
        )
        assert {fault.what for fault in verify(root).faults} <= {"is not listed in the manifest"}
        list(compact(root))
        remove(root, leftovers(root, numbers=0))
        run(root, BOTH, keep_worst)
        pd.testing.assert_frame_equal(rows(root), new, check_exact=True)
        assert verify(root).faults == []
    assert was_old >= 12
    assert was_new >= 2


def test_what_an_extension_has_begun_is_used_by_the_next_job(tmp_path, run, make_table):
    run(tmp_path, RMSE)
    cell = Store(tmp_path).cell("c")
    assert cell.begin(BOTH, BOTH) == set()
    cell.write(make_table(["cat"], metrics=BOTH, ssim=0.25))
    # It is no fault and no leftover, and compacting leaves it alone.
    assert cell.missing(RMSE) == set()
    assert verify(tmp_path).faults == []
    assert leftovers(tmp_path, numbers=0) == []
    assert [done.after for done in compact(tmp_path)] == [1]
    assert "ssim" not in rows(tmp_path)
    assert run(tmp_path, BOTH) == ["moon", "page"]
    assert rows(tmp_path)["ssim"].notna().sum() == 6


def test_a_damaged_shard_of_an_extension_is_a_fault_and_the_old_cell_stays(
    tmp_path, run, make_table
):
    run(tmp_path, RMSE)
    cell = Store(tmp_path).cell("c")
    cell.begin(BOTH, BOTH)
    shard = cell.write(make_table(["cat"], metrics=BOTH, ssim=0.25))
    content = bytearray(shard.read_bytes())
    content[40] ^= 0xFF
    shard.write_bytes(content)
    assert [(fault.file, fault.what) for fault in verify(tmp_path).faults] == [
        (shard.name, "is half-written or damaged")
    ]
    assert run(tmp_path, BOTH) == ["cat", "moon", "page"]


def test_heatmaps_that_a_new_job_does_not_keep_stay(tmp_path, run, make_table):
    run(tmp_path, RMSE)
    cell = Store(tmp_path).cell("c")
    cell.begin(BOTH, BOTH)
    cell.write(make_table(["cat", "moon", "page"], ["page"], BOTH, ssim=0.25))
    cell.finish({})
    assert set(heatmaps(cell.path).image_id) == {"cat", "moon", "page"}
    assert [len(load(shard)) for shard in cell.shards()] == [6]
    assert verify(tmp_path).faults == []


def test_an_unfinished_cell_accepts_shards_that_have_what_is_wanted(tmp_path, make_table, caplog):
    cell = Store(tmp_path).cell("c")
    cell.begin(BOTH, BOTH)
    cell.write(make_table(["cat"], metrics=BOTH, ssim=0.25))
    cell.write(make_table(["moon"], metrics=RMSE))
    other = RMSE | {"ssim": {"_target_": "metrics.ssim", "window": 7}}
    cell.write(make_table(["page"], metrics=other, ssim=0.5))
    assert Store(tmp_path).cell("c").begin(BOTH, BOTH) == {"cat"}
    assert caplog.text.count("lacks columns that are wanted: its images are computed again") == 2


def test_columns_that_are_no_longer_wanted_are_left_out(tmp_path, make_table):
    cell = Store(tmp_path).cell("c")
    cell.begin(BOTH, BOTH)
    cell.write(make_table(["cat"], metrics=BOTH, ssim=0.25))
    again = Store(tmp_path).cell("c")
    assert again.begin(RMSE, RMSE) == {"cat"}
    again.write(make_table(["moon"], metrics=RMSE))
    again.finish({})
    assert again.manifest()["metrics"] == RMSE
    assert "ssim" not in load(tmp_path)
    assert load(tmp_path)["rmse"].notna().sum() == 2


def test_shards_of_different_columns_are_no_complete_cell(tmp_path, make_table):
    cell = Store(tmp_path).cell("c")
    cell.begin()
    cell.write(make_table(["cat"], metrics=BOTH, ssim=0.25))
    cell.write(make_table(["moon"], metrics=RMSE))
    with pytest.raises(RuntimeError, match="shards with different columns"):
        cell.finish({})
    assert cell.manifest() is None


@pytest.mark.parametrize("wanted", [SSIM, {}])
def test_entries_of_a_complete_cell_cannot_be_dropped(tmp_path, run, wanted):
    run(tmp_path, RMSE)
    cell = Store(tmp_path).cell("c")
    with pytest.raises(RuntimeError, match="would lose rmse, which it holds"):
        cell.begin(wanted, wanted)
    assert cell.manifest()["metrics"] == RMSE
    assert cell.begin(SSIM, SSIM, force=True) == set()


def test_two_jobs_with_different_metrics_end_with_both(tmp_path):
    ssim = {"ssim": {"_target_": "metrics.Ssim"}}
    job(tmp_path, pause=0.0)
    before = rows(tmp_path)
    job(tmp_path, pause=0.0, entries=ssim)
    pd.testing.assert_frame_equal(rows(tmp_path).drop(columns="ssim"), before, check_exact=True)
    assert rows(tmp_path)["ssim"].notna().all()
    assert len(before) == len(CELLS) * len(IMAGES) * RANKS
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    job(tmp_path, pause=0.0, entries=ENTRIES | ssim)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == times
    assert verify(tmp_path).faults == []


def test_a_job_that_loses_an_extension_leaves_the_old_cell(tmp_path, run, make_table):
    run(tmp_path, RMSE)
    store = Store(tmp_path)
    with Turns(store, {"c": BOTH}, 60.0) as mine:
        assert mine.take(["c"]) == ["c"]
        cell = store.cell("c")
        cell.begin(BOTH, BOTH)
        path = cell.lease.path
        path.write_text(json.dumps({"owner": cell.lease.owner}))
        os.utime(path, (0, 0))
        other = Store(tmp_path, {"c": acquire(cell.path, 60.0)}).cell("c")
        assert other.begin(BOTH, BOTH) == set()
        with pytest.raises(RuntimeError, match="taken over"):
            cell.write(make_table(["cat"], metrics=BOTH, ssim=0.5))
        with pytest.raises(RuntimeError, match="taken over"):
            cell.finish({})
        assert "ssim" not in rows(tmp_path)
        other.write(make_table(["cat", "moon", "page"], ["page"], BOTH, ssim=0.25))
        other.finish({})
    assert rows(tmp_path)["ssim"].dropna().tolist() == [0.25] * 6
    assert verify(tmp_path).faults == []


def test_a_job_that_wants_nothing_new_does_not_wait_for_an_extension(tmp_path, run):
    run(tmp_path, RMSE)
    with Turns(Store(tmp_path), {"c": BOTH}, 60.0) as other:
        other.take(["c"])
        assert list(turns(Store(tmp_path), {"c": RMSE}, 60.0)) == []


def test_status_counts_a_cell_that_lacks_a_planned_metric_as_missing(tmp_path, run, make_table):
    run(tmp_path, RMSE)

    def state(metrics):
        wanted = [Planned("", data="", metrics=metrics)]
        return [cell.state for cell in status(tmp_path, wanted)]

    assert state(RMSE) == ["done"]
    assert state(BOTH) == ["missing"]
    write_plan(tmp_path, [Planned("c", ranks=2, images=3, metrics=BOTH)])
    (found,) = status(tmp_path)
    assert (found.state, found.images, found.planned.images) == ("missing", 0, 3)
    cell = Store(tmp_path).cell("c")
    cell.begin(BOTH, BOTH)
    cell.write(make_table(["cat"], metrics=BOTH, ssim=0.25))
    assert [each.images for each in status(tmp_path)] == [1]
    held = acquire(cell.path, 60.0)
    assert [each.state for each in status(tmp_path)] == ["running"]
    held.release()
    run(tmp_path, BOTH)
    assert [each.state for each in status(tmp_path)] == ["done"]


def test_force_computes_all_of_it_again(tmp_path, run):
    run(tmp_path, RMSE)
    cell = Store(tmp_path).cell("c")
    assert cell.begin(BOTH, BOTH, force=True) == set()
    assert list(cell.path.iterdir()) == []


def test_the_usual_cell_says_which_entry_gives_a_column(tmp_path, complete):
    content = complete(Store(tmp_path)).manifest()
    assert {name: facts["metric"] for name, facts in content["columns"].items()} == {
        name: name for name in METRICS
    }
    assert content["columns"]["rmse"] == {
        **{"description": "The rmse.", "kind": "float64", "better": "lower"},
        **{"null": "undefined", "source": "a paper", "metric": "rmse"},
        "null_is_sound": False,
    }

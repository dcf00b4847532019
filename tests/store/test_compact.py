"""Compaction loses nothing and shows nothing twice, at whatever point it is killed."""

import os

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from killing import Killed, kill_at

from xai_sweep.results import heatmaps, load
from xai_sweep.store.content import ContentHash, common_schema, stream
from xai_sweep.store.sharing.lease import acquire
from xai_sweep.store.store import Store
from xai_sweep.store.upkeep.compact import compact
from xai_sweep.store.upkeep.prune import leftovers, remove
from xai_sweep.store.upkeep.verify import verify


def sorted_rows(root):
    return load(root).sort_values(["image_id", "rank"], ignore_index=True)


def everything(root):
    """What a reader without manifests finds."""
    rows = pd.concat(
        pq.ParquetFile(file).read().to_pandas() for file in sorted(root.rglob("*.parquet"))
    )
    return rows.sort_values(["image_id", "rank"], ignore_index=True)


def test_one_file_with_the_same_rows(tmp_path, complete):
    cell = complete(Store(tmp_path))
    before, seen, maps = sorted_rows(tmp_path), everything(tmp_path), heatmaps(cell.path)
    (done,) = compact(tmp_path)
    assert (done.name, done.before, done.after, done.skipped) == ("c", 3, 1, "")
    (shard,) = cell.shards()
    assert done.bytes_after == shard.stat().st_size < done.bytes_before
    pd.testing.assert_frame_equal(sorted_rows(tmp_path), before)
    pd.testing.assert_frame_equal(everything(tmp_path), seen)
    duck = duckdb.sql(f"select count(*) from read_parquet('{tmp_path}/**/*.parquet')")
    assert duck.fetchall() == [(8,)]
    assert heatmaps(cell.path).image_id == maps.image_id
    manifest = cell.manifest()
    assert manifest["rows"] == 8
    assert [said["name"] for said in manifest["shards"]] == [shard.name]
    assert manifest["cell"] == "c0ffee"
    assert verify(tmp_path).faults == []
    assert list(compact(tmp_path)) == []
    assert not list(tmp_path.rglob("_lease*"))


def test_a_cell_that_begins_again_keeps_the_heatmaps_of_merged_shards(tmp_path, complete):
    cell = complete(Store(tmp_path))
    list(compact(tmp_path))
    (cell.path / "_manifest.json").unlink()
    assert cell.begin() == {"cat", "moon", "page", "rocket"}
    assert set(heatmaps(cell.path).image_id) == {"cat", "moon", "page", "rocket"}


def test_only_complete_cells_with_several_shards(tmp_path, complete, make_table):
    store = Store(tmp_path)
    complete(store, "one", shards=[["cat"]])
    begun = store.cell("begun")
    begun.begin()
    begun.write(make_table(["cat"]))
    begun.write(make_table(["moon"]))
    assert list(compact(tmp_path)) == []
    assert len(begun.shards()) == 2


def test_a_cell_that_a_job_holds_is_left(tmp_path, complete):
    cell = complete(Store(tmp_path))
    held = acquire(cell.path, 60.0)
    (done,) = compact(tmp_path)
    assert done.skipped == f"in use by pid {os.getpid()} on {os.uname().nodename}"
    assert len(cell.shards()) == 3
    held.check()


def test_a_damaged_shard_stays_what_it_is(tmp_path, complete):
    cell = complete(Store(tmp_path))
    shard = cell.shards()[1]
    content = bytearray(shard.read_bytes())
    content[-20] ^= 0xFF
    shard.write_bytes(content)
    (done,) = compact(tmp_path)
    assert done.skipped == f"{shard.name} is damaged, see xai-sweep verify"
    assert len(cell.shards()) == 3
    assert shard.read_bytes() == content


def test_what_is_read_back_is_compared(tmp_path, complete, monkeypatch):
    cell = complete(Store(tmp_path))
    files = sorted(cell.path.iterdir())
    write = pq.ParquetWriter.write_table

    def forgetful(writer, table):
        write(writer, table.slice(1))

    monkeypatch.setattr(pq.ParquetWriter, "write_table", forgetful)
    with pytest.raises(RuntimeError, match="reading it back gives other rows than were written"):
        list(compact(tmp_path))
    assert sorted(cell.path.iterdir()) == files


@pytest.mark.parametrize("mend", ["compact", "prune"])
def test_killed_at_every_point(tmp_path, complete, mend):
    for count in range(100):
        root = tmp_path / str(count)
        cell = complete(Store(root))
        rows, seen = sorted_rows(root), everything(root)
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, count)
            try:
                list(compact(root))
                break
            except Killed:
                pass
        pd.testing.assert_frame_equal(sorted_rows(root), rows)
        for file in cell.path.glob("_lease*"):  # of a process that is dead by now
            os.utime(file, (0, 0))
            file.write_text("{}")
            os.utime(file, (0, 0))
        if mend == "compact":
            list(compact(root))
            assert len(cell.shards()) == 1
        else:
            remove(root, leftovers(root, numbers=0))
        pd.testing.assert_frame_equal(everything(root), seen)
        pd.testing.assert_frame_equal(sorted_rows(root), rows)
        assert verify(root).faults == []
    assert count >= 10


def test_readers_without_manifest_never_miss_a_row(tmp_path, complete, monkeypatch):
    root = tmp_path
    complete(Store(root))
    seen, doubled = everything(root), []
    replace, unlink = os.replace, os.unlink

    def look(call):
        def looked(*args, **kwargs):
            result = call(*args, **kwargs)
            now = everything(root)
            doubled.append(len(now) > len(seen))
            assert set(now["image_id"]) == set(seen["image_id"])
            return result

        return looked

    monkeypatch.setattr(os, "replace", look(replace))
    monkeypatch.setattr(os, "unlink", look(unlink))
    list(compact(root))
    first, last = doubled.index(True), len(doubled) - doubled[::-1].index(True)
    # from the name of the merged file over the manifest to the last old shard
    assert last - first == 4


def test_load_looks_again_if_shards_vanish_meanwhile(tmp_path, complete, monkeypatch):
    complete(Store(tmp_path))
    rows = sorted_rows(tmp_path)
    open_dataset = ds.FileSystemDataset

    def slow(*args):
        monkeypatch.undo()
        list(compact(tmp_path))  # after the shards were listed, before they are read
        return open_dataset(*args)

    monkeypatch.setattr(ds, "FileSystemDataset", slow)
    pd.testing.assert_frame_equal(sorted_rows(tmp_path), rows)


def hashed(pieces):
    found = ContentHash()
    for piece in pieces:
        found.update(piece)
    return found.rows, found.hexdigest()


def test_the_hash_ignores_how_rows_are_cut_and_nothing_else(tmp_path, complete):
    cell = complete(Store(tmp_path))
    common = common_schema(cell.shards())
    whole = pa.concat_tables(stream(cell.shards(), common))
    pieces = [whole.slice(at, 3) for at in range(0, len(whole), 3)]
    assert hashed([whole]) == hashed(pieces) == hashed(stream(cell.shards(), common))
    usual = hashed([whole])
    for name, change in {
        "rmse": lambda column: pa.array(np.nextafter(column.to_numpy(), 9)),
        "label_ref": lambda column: pa.array([None, *column.to_pylist()[1:]], pa.string()),
        "error": lambda column: pa.array(["", *column.to_pylist()[1:]], pa.string()),
        "flipped": lambda column: pa.array([False, *column.to_pylist()[1:]]),
        "rank": lambda column: pa.array(column.to_pylist()[::-1], pa.int8()),
    }.items():
        at = whole.column_names.index(name)
        changed = whole.set_column(at, whole.field(at).name, change(whole[name]))
        assert hashed([changed])[1] != usual[1], name


def test_texts_that_are_cut_elsewhere_differ():
    one, other = pa.table({"a": ["ab", "c"]}), pa.table({"a": ["a", "bc"]})
    assert hashed([one])[1] != hashed([other])[1]

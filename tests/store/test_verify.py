"""What is damaged by hand is found, named, and computed again; nothing else is."""

import json
import os

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xai_sweep.core.errors import InputError
from xai_sweep.results import heatmaps, load
from xai_sweep.store.sharing.lease import acquire
from xai_sweep.store.store import Store, opened
from xai_sweep.store.upkeep.compact import compact
from xai_sweep.store.upkeep.verify import Fault, repair, verify


@pytest.fixture
def cell(tmp_path, complete):
    return complete(Store(tmp_path))


def flip(file, at):
    content = bytearray(file.read_bytes())
    content[at] ^= 0x01
    file.write_bytes(content)


def edit(cell, **changed):
    path = cell.path / "_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def replaced(cell, index, change):
    """Other rows in a shard, and a manifest that believes them."""
    shard = cell.shards()[index]
    rows = change(pq.ParquetFile(shard).read())
    pq.write_table(rows, shard)
    cell.finish({k: v for k, v in cell_manifest(cell).items() if k not in ("rows", "shards")})


def cell_manifest(cell):
    return json.loads((cell.path / "_manifest.json").read_text())


def test_nothing_is_wrong(tmp_path, cell, complete, make_table):
    complete(Store(tmp_path), "worst", keep_worst=2)
    begun = Store(tmp_path).cell("begun")
    begun.begin()
    begun.write(make_table(["cat"]))
    held = complete(Store(tmp_path), "held")
    acquire(held.path, 60.0)
    (held.path / "rows-00000.parquet").unlink()
    verdict = verify(tmp_path)
    assert verdict.faults == []
    assert (verdict.complete, verdict.unfinished, verdict.running, verdict.rows) == (2, 1, 1, 16)


@pytest.mark.parametrize("at", [0, 4, 40, 300, -1, -20, -200, -1500])
def test_every_flipped_bit_is_found(tmp_path, cell, at):
    flip(cell.shards()[1], at)
    assert verify(tmp_path).faults == [
        Fault("c", "rows-00001.parquet", "is damaged: its SHA-256 is not that of the manifest")
    ]


def test_a_truncated_and_a_missing_shard(tmp_path, cell):
    first = cell.shards()[0].stat().st_size
    os.truncate(cell.shards()[0], 1000)
    size = cell.shards()[2].stat().st_size
    os.truncate(cell.shards()[2], size - 1)
    cell.shards()[1].unlink()
    assert [(fault.file, fault.what) for fault in verify(tmp_path).faults] == [
        (
            "rows-00000.parquet",
            f"is half-written or damaged: 1000 bytes instead of {first}",
        ),
        ("rows-00001.parquet", "is missing"),
        ("rows-00002.parquet", f"is half-written or damaged: {size - 1} bytes instead of {size}"),
    ]


def test_a_shard_that_is_not_listed(tmp_path, cell, make_table):
    cell.write(make_table(["cat"]))
    assert verify(tmp_path).faults == [
        Fault("c", "rows-00003.parquet", "is not listed in the manifest")
    ]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]),
            "1 rows exist more than once, e.g. image moon, draw 0, rank 1",
        ),
        (lambda rows: rows.slice(1), "1 rows are missing: not every image has 1 draws of 2 ranks"),
        (lambda rows: rows.slice(2), "3 images instead of 4"),
        (
            lambda rows: rows.set_column(0, rows.field(0), pa.array(["beef"] * len(rows))),
            "rows of other cells than c0ffee",
        ),
    ],
)
def test_rows_are_accounted_for(tmp_path, cell, change, what):
    replaced(cell, 1, change)
    assert what in [fault.what for fault in verify(tmp_path).faults]


def test_the_number_of_rows_and_the_content_of_merged_shards(tmp_path, cell):
    edit(cell, rows=9)
    assert [fault.what for fault in verify(tmp_path).faults] == ["8 rows instead of 9"]
    edit(cell, rows=8)
    list(compact(tmp_path))
    edit(cell, content="0" * 64)
    assert [fault.what for fault in verify(tmp_path).faults] == [
        "the content of its rows is not that of the manifest"
    ]


def test_heatmaps_and_manifests(tmp_path, cell, complete):
    os.truncate(cell.path / "_heatmaps-00001.npz", 100)
    other = complete(Store(tmp_path), "d", keep_worst=2)
    flip(other.path / "_heatmaps-worst.npz", 200)
    complete(Store(tmp_path), "e").path.joinpath("_manifest.json").write_text('{"schema": 2, ')
    assert verify(tmp_path).faults == [
        Fault("c", "_heatmaps-00001.npz", "is half-written or damaged"),
        Fault("d", "_heatmaps-worst.npz", "is half-written or damaged"),
        Fault("e", "_manifest.json", "cannot be read"),
    ]


def test_damaged_shards_of_unfinished_cells(tmp_path, cell):
    (cell.path / "_manifest.json").unlink()
    flip(cell.shards()[0], 40)
    assert verify(tmp_path).faults == [
        Fault("c", "rows-00000.parquet", "is half-written or damaged")
    ]


def compute_again(cell, make_table, make_heatmaps):
    """What a job does; returns the images that it had to compute."""
    if cell.manifest() is not None:
        return set()
    done = cell.begin()
    missing = [name for name in ("cat", "moon", "page", "rocket") if name not in done]
    if missing:
        cell.write(make_table(missing, failed=["page"]), make_heatmaps(missing))
    cell.finish({"cell": "c0ffee", "counts": cell.counts()})
    return set(missing)


@pytest.mark.parametrize("harm", ["flip", "truncate", "unlink", "manifest", "heatmaps", "unlisted"])
def test_after_repair_only_what_was_damaged_is_computed(
    tmp_path, cell, make_table, make_heatmaps, harm
):
    expected = load(tmp_path).sort_values(["image_id", "rank"], ignore_index=True)
    shard = cell.shards()[1]
    lost = {"moon", "page"}
    match harm:
        case "flip":
            flip(shard, -300)
        case "truncate":
            os.truncate(shard, 1000)
        case "unlink":
            shard.unlink()
        case "manifest":
            os.truncate(cell.path / "_manifest.json", 50)
            lost = set()
        case "heatmaps":
            os.truncate(cell.path / "_heatmaps-00001.npz", 100)
        case _:
            cell.write(make_table(["cat"]))
            lost = set()
    verdict = verify(tmp_path)
    assert verdict.faults
    assert repair(tmp_path, verdict) == []
    assert compute_again(cell, make_table, make_heatmaps) == lost
    assert verify(tmp_path).faults == []
    rows = load(tmp_path).sort_values(["image_id", "rank"], ignore_index=True)
    pd.testing.assert_frame_equal(rows, expected)
    assert set(heatmaps(cell.path).image_id) == {"cat", "moon", "page", "rocket"}


def test_a_cell_that_a_job_holds_by_now_is_not_repaired(tmp_path, cell):
    flip(cell.shards()[1], 40)
    verdict = verify(tmp_path)
    acquire(cell.path, 60.0)
    assert repair(tmp_path, verdict) == ["c"]
    assert cell.manifest() is not None


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(InputError) as caught:
        opened(tmp_path)
    assert str(caught.value) == (
        f"path={tmp_path}: a results folder; there is no _xai_sweep.json in it"
    )


def test_two_schema_versions_in_one_folder(tmp_path, cell):
    edit(cell, schema=1)
    with pytest.raises(InputError, match=r"^path=.*version 2, and _manifest.json has version 1: "):
        verify(tmp_path)

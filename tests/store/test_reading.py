import json
import os
import re
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from stored import COLUMNS, ENTRIES, column

from xai_sweep.core.columns import Column
from xai_sweep.core.errors import InputError
from xai_sweep.report.figures import plot_curves
from xai_sweep.results import heatmaps, load, manifests, needed_columns, summary
from xai_sweep.store.schema import schema, table
from xai_sweep.store.store import Store


@pytest.fixture
def root(tmp_path, make_table, make_heatmaps):
    """Two complete cells, one begun, and all that lies beside rows."""
    store = Store(tmp_path)
    for name, magnitude in (("a", 5.0), ("b", 10.0)):
        cell = store.cell(name)
        cell.begin()
        cell.write(make_table(["cat"], magnitude=magnitude), make_heatmaps(["cat"]))
        cell.write(make_table(["moon", "page"], failed=["page"], magnitude=magnitude))
        cell.finish({"magnitude": magnitude})
    for file in ("_figures/strip.png", "_jobs/0/config.yaml", "cells/a/_rows-9.parquet.1.tmp"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"no rows")
    return tmp_path


@pytest.fixture
def begun(root, make_table):
    cell = Store(root).cell("c")
    cell.begin()
    cell.write(make_table(["rocket"], magnitude=20.0))
    return root


def _sorted(rows):
    return rows.sort_values(["magnitude", "image_id", "rank"], ignore_index=True)


def test_all_tools_read_the_same_rows_from_the_whole_folder(root):
    rows = load(root)
    assert len(rows) == 12
    assert list(rows.columns) == schema(COLUMNS).names
    pattern = f"{root}/**/*.parquet"
    for other in (
        pd.read_parquet(root),
        ds.dataset(root).to_table().to_pandas(),
        pl.read_parquet(pattern).to_pandas(),
        duckdb.sql(f"from read_parquet('{pattern}')").df(),
    ):
        pd.testing.assert_frame_equal(_sorted(other.astype(rows.dtypes)), _sorted(rows))


def test_types_do_not_depend_on_failures(root):
    whole, good = load(root), load(root, filters=[("image_id", "==", "cat")])
    assert len(good) == 4
    assert (whole.dtypes == good.dtypes).all()
    assert (str(whole["flipped"].dtype), str(whole["class_ref"].dtype)) == ("boolean", "Int32")


def test_a_folder_a_cell_and_a_file(root):
    assert len(load(str(root))) == 12
    assert load(root / "cells" / "b")["magnitude"].tolist() == [10.0] * 6
    assert load(root / "cells" / "a" / "rows-00000.parquet")["image_id"].tolist() == ["cat"] * 2


def test_unfinished_cells_only_when_asked_for(begun):
    assert 20.0 not in load(begun)["magnitude"].tolist()
    assert load(begun, unfinished=True)["magnitude"].tolist().count(20.0) == 2
    with pytest.raises(InputError, match=r"no finished cell; 1 unfinished: unfinished=True reads"):
        load(begun / "cells" / "c")


def test_columns_and_filters(root):
    rows = load(
        root, columns=["rank", "image_id"], filters=[("magnitude", ">", 7), ("rank", "==", 1)]
    )
    assert list(rows.columns) == ["rank", "image_id"]
    assert sorted(rows["image_id"]) == ["cat", "moon", "page"]
    failed = load(root, filters=pc.field("error").is_valid())
    assert failed["image_id"].tolist() == ["page"] * 4
    nothing = load(root, filters=[("model", "==", "resnet50")])
    assert (len(nothing), list(nothing.columns)) == (0, list(load(root).columns))


def test_files_that_cannot_hold_the_rows_are_not_read(root):
    shard = root / "cells" / "a" / "rows-00000.parquet"
    content = bytearray(shard.read_bytes())
    content[40] ^= 0xFF  # within the first page, so that reading it would raise
    shard.write_bytes(content)
    assert len(load(root, filters=[("magnitude", "==", 10.0)])) == 6
    with pytest.raises(InputError, match=r"rows-00000\.parquet"):
        load(root)


def test_a_column_that_only_one_cell_has_is_nan_in_the_other(root, make_table):
    cell = Store(root).cell("later")
    cell.begin()
    entries = {name: ENTRIES[name] for name in ("rmse", "spearman")} | {"ssim": {}}
    cell.write(make_table(["cat"], metrics=entries, ssim=0.5, magnitude=20.0))
    cell.finish({})
    frame = load(root)
    assert list(frame.columns) == schema([*COLUMNS, column("ssim")]).names
    later = frame["magnitude"] == 20
    assert frame.loc[later, "ssim"].tolist() == [0.5, 0.5]
    assert frame.loc[~later, "ssim"].isna().all()
    assert frame.loc[later, "nrmse"].isna().all()


def written(root, name, rows, declared):
    cell = Store(root).cell(name)
    cell.begin()
    cell.write(table([row | {declared.name: 3} for row in rows], [declared]))
    return cell


@pytest.mark.parametrize("unfinished", [False, True])
def test_a_plugins_columns_have_the_types_that_were_declared(tmp_path, make_rows, unfinished):
    declared = Column("steps", "How many steps.", "int32")
    cell = written(tmp_path, "plugin", make_rows(["cat"]), declared)
    if not unfinished:
        cell.finish({})
    rows = load(tmp_path, unfinished=unfinished)
    assert rows["steps"].tolist() == [3, 3]
    assert str(rows["steps"].dtype) == "Int32"


def test_a_column_of_two_types_is_refused(tmp_path, make_rows):
    for name, kind in (("a", "int32"), ("b", "float64")):
        written(tmp_path, name, make_rows(["cat"]), Column("steps", "Steps.", kind)).finish({})
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    cells = tmp_path / "cells"
    assert str(caught.value) == (
        f"path={cells / 'b'}: must hold the same type of `steps` everywhere; it is int32 in "
        f"{cells / 'a'} and double here: load them apart"
    )
    assert len(load(cells / "a")) == len(load(cells / "b")) == 2


@pytest.mark.parametrize("name", ["missing", "photo.png"])
def test_a_path_that_is_neither_is_refused(tmp_path, name):
    (tmp_path / "photo.png").write_bytes(b"PNG")
    with pytest.raises(InputError) as caught:
        load(tmp_path / name)
    assert str(caught.value) == (
        f"path={tmp_path / name}: a results folder, a cell or a shard (.parquet)"
    )


def test_a_folder_without_rows_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^path=.*: a folder with rows; it has no finished cell$"):
        load(tmp_path)


def test_unknown_columns_are_named(root):
    with pytest.raises(
        InputError, match=r"^columns=rsme: one of cell, question, .*, error, rmse, nrmse, spearman$"
    ):
        load(root, columns=["image_id", "rsme"])
    with pytest.raises(InputError, match=r"^filters=angle: one of cell"):
        load(root, filters=[("angle", "==", 5)])


@pytest.mark.parametrize("size", [0, 100, -5])
def test_a_half_written_shard_is_named(root, size):
    shard = root / "cells" / "b" / "rows-00001.parquet"
    os.truncate(shard, size % shard.stat().st_size)
    for read in (load, manifests):
        with pytest.raises(InputError) as caught:
            read(root)
        assert str(caught.value) == (
            f"path={shard}: a complete file; this one is half-written or damaged: delete it and "
            "run the same command again, which computes what is missing"
        )


@pytest.mark.parametrize("at", [40, -2, -40])
def test_flipped_bytes_are_named(root, at):
    shard = root / "cells" / "b" / "rows-00001.parquet"
    content = bytearray(shard.read_bytes())
    content[at] ^= 0xFF
    shard.write_bytes(content)
    for path in (root, shard):
        with pytest.raises(InputError, match=r"rows-00001.parquet: a complete file; this one is"):
            load(path)


def test_damaged_heatmaps_and_manifests_are_named(root):
    cell = root / "cells" / "a"
    os.truncate(cell / "_heatmaps-00000.npz", 200)
    with pytest.raises(InputError, match=r"_heatmaps-00000.npz: .* again with force=true$"):
        heatmaps(cell)
    os.truncate(cell / "_manifest.json", 20)
    with pytest.raises(InputError, match=r"_manifest.json: a complete file"):
        load(root)


@pytest.mark.parametrize("file", ["_xai_sweep.json", "cells/b/_manifest.json"])
def test_another_schema_version_is_refused(root, file):
    content = json.loads((root / file).read_text())
    (root / file).write_text(json.dumps(content | {"schema": 1}))
    for read in (load, manifests):
        with pytest.raises(
            InputError, match=r"of schema version 2, and _.* has version 1: nothing"
        ):
            read(root)


@pytest.mark.parametrize(("metadata", "held"), [({"xai_sweep.schema": "1"}, "1"), (None, "none")])
def test_a_file_of_another_schema_version_is_refused(root, metadata, held):
    shard = root / "cells" / "a" / "rows-00000.parquet"
    pq.write_table(pq.read_table(shard).replace_schema_metadata(metadata), root / "other.parquet")
    with pytest.raises(InputError, match=f"version 2, and this file has version {held}: "):
        load(root / "other.parquet")


def test_manifests_are_those_of_finished_cells(begun):
    assert [manifest["magnitude"] for manifest in manifests(begun)] == [5.0, 10.0]
    assert manifests(begun / "cells" / "b")[0]["rows"] == 6
    assert manifests(begun / "cells" / "c") == []


def test_heatmaps_of_a_cell_are_merged(root, make_table, make_heatmaps):
    cell = Store(root).cell("d")
    cell.begin()
    cell.write(make_table(["cat"]), make_heatmaps(["cat"]))
    cell.write(make_table(["page", "moon"]), make_heatmaps(["page", "moon"]))
    kept = heatmaps(cell.path)
    assert kept.image_id == ("cat", "page", "moon")
    expected = make_heatmaps(["cat", "page", "moon"]).new
    np.testing.assert_allclose(kept.new, expected, rtol=2.0**-10, atol=1e-12)
    assert heatmaps(cell.path.parent) is None
    with pytest.raises(InputError, match="no such folder"):
        heatmaps(root / "missing")


def test_several_cells_in_the_order_in_which_they_are_named(root):
    cells = [root / "cells" / name for name in "ba"]
    expected = pd.concat([load(cell) for cell in cells], ignore_index=True)
    pd.testing.assert_frame_equal(load(cells), expected)
    pd.testing.assert_frame_equal(load([str(cell) for cell in cells], ["rank"]), expected[["rank"]])


def test_the_columns_that_a_summary_needs(root):
    rows = load(root)
    for metrics in (["rmse", "nrmse", "spearman"], ["rmse"], []):
        needed = rows[needed_columns(metrics)]
        assert needed.shape[1] < rows.shape[1] * 0.7
        pd.testing.assert_frame_equal(summary(needed), summary(rows, metrics))
        if "rmse" in metrics:
            titles = [plot_curves(each).axes[0].get_title() for each in (needed, rows)]
            assert titles[0] == titles[1]


def test_duckdb_reads_the_rows_and_not_the_name_of_a_folder(tmp_path, monkeypatch, make_table):
    """As the README says."""
    cell = Store(tmp_path / "results" / "seed=1").cell("c")
    cell.begin()
    cell.write(make_table(["cat"], seed=0, rmse=0.5))
    cell.finish({})
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (query,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert duckdb.sql(query).fetchall() == [(0, 0.5)]
    guessed = duckdb.sql(query.replace(", hive_partitioning=false", ""))
    assert guessed.fetchall() == [(1, 0.5)]  # what the option is for

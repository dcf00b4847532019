import hashlib
import json
import os

import numpy as np
import pandas as pd
import pytest

from xai_sweep.core.errors import InputError
from xai_sweep.results import heatmaps, load
from xai_sweep.store.store import Store


@pytest.fixture
def cell(tmp_path, make_table, make_heatmaps):
    """A complete cell of two shards."""
    cell = Store(tmp_path).cell("vgg16-c0ffee")
    cell.begin()
    cell.write(make_table(["cat", "coffee"]), make_heatmaps(["cat", "coffee"]))
    cell.write(make_table(["rocket"]), make_heatmaps(["rocket"]))
    cell.finish({"wall_time_s": 1.5})
    return cell


def _names(cell):
    return sorted(file.name for file in cell.path.iterdir())


def test_layout(tmp_path, cell):
    assert json.loads((tmp_path / "_xai_sweep.json").read_text())["schema"] == 2
    assert cell.path == tmp_path / "cells" / "vgg16-c0ffee"
    assert _names(cell) == [
        "_heatmaps-00000.npz",
        "_heatmaps-00001.npz",
        "_manifest.json",
        "rows-00000.parquet",
        "rows-00001.parquet",
    ]


def test_the_manifest_lists_the_shards(cell):
    shard = cell.path / "rows-00001.parquet"
    manifest = cell.manifest()
    assert manifest == json.loads((cell.path / "_manifest.json").read_text())
    assert (manifest["schema"], manifest["rows"], manifest["wall_time_s"]) == (2, 6, 1.5)
    assert manifest["shards"][1] == {
        "name": "rows-00001.parquet",
        "rows": 2,
        "bytes": shard.stat().st_size,
        "sha256": hashlib.sha256(shard.read_bytes()).hexdigest(),
    }


def test_a_cell_without_manifest_is_not_complete(tmp_path, make_table):
    cell = Store(tmp_path).cell("new")
    assert cell.manifest() is None
    assert cell.begin() == frozenset()
    cell.write(make_table(["cat"]))
    assert cell.manifest() is None


def test_a_second_begin_goes_on_where_the_first_ended(tmp_path, make_table):
    cell = Store(tmp_path).cell("new")
    cell.begin()
    cell.write(make_table(["cat", "page"], failed=["page"]))
    again = Store(tmp_path).cell("new")
    assert again.begin() == {"cat", "page"}
    assert again.write(make_table(["moon"])).name == "rows-00001.parquet"
    again.finish({})
    assert sorted(load(tmp_path)["image_id"].unique()) == ["cat", "moon", "page"]


def test_force_clears_everything(cell):
    cell.finish({}, keep_worst=1)
    (cell.path / "_heatmaps-00001.npz").touch()
    assert cell.begin(force=True) == frozenset()
    assert _names(cell) == []


@pytest.mark.parametrize("size", [0, 4, 1000, -1])
def test_a_truncated_shard_is_named_removed_and_its_images_computed_again(cell, caplog, size):
    shard = cell.path / "rows-00000.parquet"
    os.truncate(shard, size % shard.stat().st_size)
    assert cell.manifest() is None
    assert cell.begin() == {"rocket"}
    assert str(shard) in caplog.text
    assert _names(cell) == ["_heatmaps-00001.npz", "rows-00001.parquet"]


@pytest.mark.parametrize("at", [4, 200, -2, -40])
def test_flipped_bytes_are_found_on_begin(cell, at):
    shard = cell.path / "rows-00001.parquet"
    content = bytearray(shard.read_bytes())
    content[at] ^= 0xFF
    shard.write_bytes(content)
    assert cell.begin() == {"cat", "coffee"}


def test_damaged_heatmaps_take_their_shard_along(cell):
    part = cell.path / "_heatmaps-00000.npz"
    os.truncate(part, part.stat().st_size // 2)
    assert cell.begin() == {"rocket"}


def test_heatmaps_without_their_shard_and_temporary_files_are_dropped(cell):
    (cell.path / "rows-00001.parquet").unlink()
    (cell.path / "_rows-00002.parquet.17.tmp").write_bytes(b"PAR1")
    assert cell.manifest() is None
    assert cell.begin() == {"cat", "coffee"}
    assert _names(cell) == ["_heatmaps-00000.npz", "rows-00000.parquet"]


def test_a_half_written_manifest_is_none(tmp_path, cell):
    manifest = cell.path / "_manifest.json"
    os.truncate(manifest, manifest.stat().st_size // 2)
    assert Store(tmp_path).cell("vgg16-c0ffee").manifest() is None


def test_rows_that_do_not_match_write_nothing(cell, make_table, make_heatmaps):
    before = _names(cell)
    with pytest.raises(ValueError, match="rank must not be null"):
        cell.write(make_table(["moon"], rank=None), make_heatmaps(["moon"]))
    assert _names(cell) == before


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_keep_worst_merges_into_the_images_of_highest_rmse(
    tmp_path, make_table, make_heatmaps, count
):
    images = ["moon", "cat", "page", "coffee", "rocket"]
    cell = Store(tmp_path).cell("new")
    cell.begin()
    for image in images[:4]:
        cell.write(make_table([image]), make_heatmaps([image]))
    cell.write(make_table([images[4]]))  # a shard need not have heatmaps
    cell.finish({}, keep_worst=count)
    kept = heatmaps(cell.path)
    assert kept.image_id == ("page", "cat", "coffee", "moon")[:count]
    np.testing.assert_array_equal(kept.photo[0], make_heatmaps(["page"]).photo[0])
    assert [name for name in _names(cell) if "heatmaps" in name] == ["_heatmaps-worst.npz"]


def test_a_cell_opened_again_after_keep_worst_weighs_new_images_against_those_kept(
    cell, make_table, make_heatmaps
):
    cell.finish({}, keep_worst=2)
    (cell.path / "rows-00000.parquet").unlink()
    assert cell.begin() == {"rocket"}
    cell.write(make_table(["cat", "page"]), make_heatmaps(["cat", "page"]))
    cell.finish({}, keep_worst=2)
    assert heatmaps(cell.path).image_id == ("page", "rocket")


def test_damaged_merged_heatmaps_are_dropped_with_a_warning(cell, caplog):
    cell.finish({}, keep_worst=2)
    os.truncate(cell.path / "_heatmaps-worst.npz", 100)
    assert cell.begin() == {"cat", "coffee", "rocket"}
    assert "_heatmaps-worst.npz is damaged" in caplog.text
    cell.finish({}, keep_worst=2)
    assert heatmaps(cell.path) is None


@pytest.mark.parametrize("file", ["_xai_sweep.json", "cells/vgg16-c0ffee/_manifest.json"])
def test_another_schema_version_is_refused_and_left_alone(tmp_path, cell, file):
    content = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps(content | {"schema": 1}))
    before = _names(cell)
    with pytest.raises(InputError) as caught:
        Store(tmp_path).cell(cell.path.name)
    assert str(caught.value) == (
        f"results={tmp_path}: must hold results of schema version 2, and "
        f"{file.rpartition('/')[2]} has version 1: nothing was changed; choose another folder, or "
        "read this one with the xai_sweep that wrote it"
    )
    assert _names(cell) == before


def test_another_schema_version_is_refused_without_a_marker(tmp_path, cell):
    (tmp_path / "_xai_sweep.json").unlink()
    (cell.path / "_manifest.json").write_text('{"schema": 0, "shards": []}')
    with pytest.raises(InputError, match=r"_manifest\.json has version 0"):
        Store(tmp_path)
    assert not (tmp_path / "_xai_sweep.json").exists()


def test_a_half_written_marker_is_written_again(tmp_path, cell):
    (tmp_path / "_xai_sweep.json").write_text('{"schem')
    assert Store(tmp_path).cell(cell.path.name).manifest() is not None
    assert json.loads((tmp_path / "_xai_sweep.json").read_text())["schema"] == 2


@pytest.mark.parametrize("place", ["file/results", "file", "/proc/results"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, place):
    (tmp_path / "file").touch()
    root = tmp_path / place
    with pytest.raises(InputError, match=rf"^results={root}: a folder that can be written \(.+\)$"):
        Store(root)


def test_a_folder_without_write_permission_is_refused(tmp_path, monkeypatch):
    Store(tmp_path)

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # root may write wherever it likes
    with pytest.raises(InputError, match=r"can be written \(permission denied\)"):
        Store(tmp_path)


def test_all_failed_first_shard_keeps_the_metric_columns(tmp_path, make_table):
    cell = Store(tmp_path).cell("new")
    cell.begin()
    cell.write(make_table(["page"], failed=["page"]))
    cell.write(make_table(["cat"]))
    cell.finish({})
    rows = pd.read_parquet(tmp_path)
    assert rows["rmse"].tolist()[2:] == [0.5, 1.0]
    assert rows["rmse"].isna().tolist() == [True, True, False, False]

"""How the rows of a cell get into its shards."""

import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from stored import COLUMNS, ENTRIES, METRICS

from xai_sweep.results import heatmaps, load
from xai_sweep.store import writer as module
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.store import Store
from xai_sweep.store.writer import CellWriter

PHOTOS = ("cat", "coffee", "moon", "page", "rocket")


@pytest.fixture
def make_writer(tmp_path: Path) -> Callable[..., CellWriter]:
    def make(shard_images: int = 2, keep_worst: int | None = None) -> CellWriter:
        folder = Store(tmp_path).cell("c")
        done = folder.begin(ENTRIES, METRICS)
        return CellWriter(
            folder, done, {"data": "photos"}, COLUMNS, shard_images, keep_worst, ENTRIES
        )

    return make


@pytest.fixture
def fill(
    make_rows: Callable[..., list[dict[str, object]]], make_heatmaps: Callable[..., Heatmaps]
) -> Callable[..., None]:
    def fill(writer: CellWriter, images: Sequence[str], failed: Sequence[str] = ()) -> None:
        for image in images:
            kept = None if image in failed else make_heatmaps([image])
            rows = make_rows([image], failed=failed)
            for row in rows:
                del row["data"]  # which the writer knows for all of them
            writer.add(image, rows, kept)

    return fill


def test_a_shard_holds_so_many_images_and_the_last_one_the_rest(make_writer, fill):
    writer = make_writer(shard_images=2)
    fill(writer, PHOTOS)
    assert [len(load(shard)) for shard in writer.folder.shards()] == [4, 4]
    assert writer.close(expected=5) == {"images": 5, "failed": 0}
    assert [len(load(shard)) for shard in writer.folder.shards()] == [4, 4, 2]
    assert len(writer.folder.heatmaps.all()) == 3


def test_constant_columns_are_in_every_row_and_an_images_own_win(make_writer, fill):
    writer = make_writer()
    fill(writer, PHOTOS)
    writer.flush()
    found = load(writer.folder.path, unfinished=True)
    assert set(found["data"]) == {"photos"}
    assert sorted(set(found["image_id"])) == sorted(PHOTOS)


def test_flushing_nothing_writes_nothing(make_writer):
    writer = make_writer()
    writer.flush()
    assert writer.folder.shards() == []
    assert writer.close(expected=0) == {"images": 0, "failed": 0}


@pytest.mark.parametrize("shard_images", [2, 100])
def test_of_each_shard_the_worst_heatmaps_are_kept(make_writer, fill, shard_images):
    # rmse: rocket and page 0.75, cat 0.5, coffee 0.25; that of moon is NaN, which is never worst.
    writer = make_writer(shard_images=shard_images, keep_worst=1)
    fill(writer, ("moon", "cat", "coffee", "page", "rocket"))
    writer.close(expected=5)
    kept = heatmaps(writer.folder.path)
    expected = {2: ("cat", "page", "rocket"), 100: ("page",)}
    assert kept.image_id == expected[shard_images]


def test_all_heatmaps_are_kept_if_asked_for(make_writer, fill):
    writer = make_writer(keep_worst=None)
    fill(writer, PHOTOS)
    writer.close(expected=5)
    assert heatmaps(writer.folder.path).image_id == PHOTOS


def test_memory_holds_few_heatmaps_however_large_the_shard(make_writer, make_heatmaps):
    writer = make_writer(shard_images=1000, keep_worst=2)
    tracemalloc.start()
    for number in range(40):
        writer.add(f"photo {number}", [], make_heatmaps([f"photo {number}"], size=64))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    one = make_heatmaps(["cat"], size=64)
    assert held < 10 * (one.new.nbytes + one.reference.nbytes + one.photo.nbytes)


def test_slow_work_is_written_from_time_to_time(make_writer, fill, monkeypatch):
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    writer = make_writer(shard_images=1000)
    fill(writer, ["cat"])
    now += 299
    fill(writer, ["coffee"])
    assert writer.folder.shards() == []
    now += 10
    fill(writer, ["rocket"])
    assert len(writer.folder.shards()) == 1
    fill(writer, ["moon"])
    assert len(writer.folder.shards()) == 1
    assert writer.folder.counts() == {"images": 3, "failed": 0}


def test_images_that_are_there_are_ignored_and_their_failures_still_count(make_writer, fill):
    fill(make_writer(shard_images=1), ["cat", "moon"], failed=["moon"])
    writer = make_writer(shard_images=1)
    assert writer.done == {"cat", "moon"}
    fill(writer, ["cat", "coffee", "moon", "page"], failed=["moon", "page"])
    assert writer.close(expected=4) == {"images": 4, "failed": 2}
    assert not load(writer.folder.path, unfinished=True).duplicated(["image_id", "rank"]).any()


def test_a_cell_that_lacks_an_image_cannot_be_closed(make_writer, fill):
    writer = make_writer()
    fill(writer, ["cat", "coffee", "moon"])
    with pytest.raises(RuntimeError, match="rows of 3 images, not of 4"):
        writer.close(expected=4)
    assert writer.folder.manifest() is None
    assert writer.folder.counts()["images"] == 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_rows_are_not_written_twice_if_writing_is_interrupted(make_writer, fill, monkeypatch, when):
    writer = make_writer(shard_images=100)
    fill(writer, ["cat"])
    write = type(writer.folder).write

    def interrupted(*args: object) -> None:
        if when == "after":
            write(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(writer.folder), "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.flush()
    writer.flush()
    assert len(writer.folder.shards()) == (1 if when == "after" else 0)

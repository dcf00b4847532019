"""Rows and heatmaps as a small run leaves them, on photographs that scikit-image ships."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from skimage import data

from xai_sweep.core.columns import Column
from xai_sweep.store.cell_folder import CellFolder
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.manifest import described_columns
from xai_sweep.store.schema import table
from xai_sweep.store.store import Store

RANKS = 2
# Columns that are never null.
KNOWN = (
    *("cell", "question", "sweep", "image_id", "image_path", "data", "model", "explainer"),
    *("is_control", "transform", "parameter", "magnitude", "seed", "target", "region"),
    *("region_of", "draws", "draw", "rank"),
)
RMSE = {"cat": 0.5, "coffee": 0.25, "rocket": 0.75, "moon": float("nan"), "page": 0.75}
PHOTOS = {"cat": data.chelsea(), "coffee": data.coffee(), "rocket": data.rocket()}

Rows = list[dict[str, object]]


def column(name: str) -> Column:
    """A column of a metric."""
    return Column(name, f"The {name}.", better="lower", source="a paper")


METRICS = ("rmse", "nrmse", "spearman")
ENTRIES: dict[str, dict[str, object]] = {name: {"_target_": f"metrics.{name}"} for name in METRICS}
COLUMNS = tuple(column(name) for name in METRICS)


@pytest.fixture
def make_rows() -> Callable[..., Rows]:
    return _rows


@pytest.fixture
def make_table() -> Callable[..., pa.Table]:
    """The same rows as a table, as a folder takes them."""
    return _table


@pytest.fixture
def make_heatmaps() -> Callable[..., Heatmaps]:
    return _heatmaps


@pytest.fixture
def complete() -> Callable[..., CellFolder]:
    return _complete


def _complete(
    store: Store,
    name: str = "c",
    shards: Sequence[Sequence[str]] = (("cat",), ("moon", "page"), ("rocket",)),
    keep_worst: int | None = None,
    **manifest: object,
) -> CellFolder:
    """A complete cell of so many shards, with heatmaps; the page could not be computed."""
    cell = store.cell(name)
    done = cell.begin(ENTRIES, METRICS)
    for images in shards:
        if missing := [image for image in images if image not in done]:
            cell.write(_table(missing, failed=["page"]), _heatmaps(missing))
    known = {"cell": "c0ffee", "finished": "now", "counts": cell.counts()}
    known["columns"] = described_columns({each.name: [each] for each in COLUMNS})
    cell.finish(known | manifest, keep_worst)
    return cell


def _rows(images: Sequence[str], failed: Sequence[str] = (), **changed: object) -> Rows:
    return [
        (_failed_row if image in failed else _row)(image, rank) | changed
        for image in images
        for rank in range(1, RANKS + 1)
    ]


def _table(
    images: Sequence[str],
    failed: Sequence[str] = (),
    metrics: dict[str, dict[str, object]] = ENTRIES,
    **changed: object,
) -> pa.Table:
    columns = [column(name) for name in metrics]
    return table(_rows(images, failed, **changed), columns, metrics)


def _failed_row(image: str, rank: int) -> dict[str, object]:
    row = _row(image, rank)
    known = {name: row[name] for name in KNOWN}
    return {**known, "label_true": None, "error": "truncated"}


def _row(image: str, rank: int) -> dict[str, object]:
    return {
        "cell": "c0ffee",
        "question": "a question",
        "sweep": "test",
        "image_id": image,
        "image_path": f"photos/{image}.png",
        "label_true": None,
        "data": "photos-0c0ffee0",
        "model": "vgg16",
        "explainer": "saliency",
        "is_control": False,
        "transform": "rotation",
        "parameter": "angle",
        "magnitude": 10.0,
        "seed": 0,
        "target": "class",
        "region": "mask",
        "region_of": "own",
        "draws": 1,
        "draw": 0,
        "rank": rank,
        "class_ref": 280 + rank,
        "label_ref": "tabby",
        "prob_ref": 0.438 / rank,
        "class_new": 281 + rank,
        "label_new": "lynx",
        "prob_new": 0.25 / rank,
        "prob_ref_new": 0.125,
        "class_explained": 280 + rank,
        "flipped": True,
        "image_distance": 12.5,
        "logit_distance": 3.5,
        "rmse": RMSE.get(image, 0.1) * rank,
        "nrmse": 2.0,
        "spearman": -0.5,
        "valid_fraction": 0.9,
        "finite": True,
        "error": None,
    }


def _heatmaps(images: Sequence[str], size: int = 16) -> Heatmaps:
    """Pieces of photographs, different for each image, and their differences as heatmaps."""
    photos = np.stack([_piece(image, size) for image in images])
    maps = np.moveaxis(photos[..., :RANKS].astype(np.float32) - 128, -1, 1) * np.float32(1e-8)
    return Heatmaps(
        image_id=tuple(images),
        rmse=np.array([RMSE.get(image, 0.1) for image in images], dtype=np.float32),
        reference=maps,
        new=np.roll(maps, 1, axis=-1),
        photo=photos,
        photo_new=255 - photos,
    )


def _piece(image: str, size: int) -> np.ndarray:
    photo = PHOTOS.get(image, PHOTOS["cat"])
    at = sum(image.encode()) % 200
    return photo[at : at + size, at : at + size]

"""Rows and heatmaps as a small run leaves them, on photographs that scikit-image ships."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from skimage import data

from xai_sweep.store.cell_folder import CellFolder
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.store import Store

RANKS = 2
RMSE = {"cat": 0.5, "coffee": 0.25, "rocket": 0.75, "moon": float("nan"), "page": 0.75}
PHOTOS = {"cat": data.chelsea(), "coffee": data.coffee(), "rocket": data.rocket()}

Rows = list[dict[str, object]]


@pytest.fixture
def make_rows() -> Callable[..., Rows]:
    return _rows


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
    done = cell.begin()
    for images in shards:
        if missing := [image for image in images if image not in done]:
            cell.write(_rows(missing, failed=["page"]), _heatmaps(missing))
    known = {"cell": "c0ffee", "finished": "now", "counts": cell.counts()}
    cell.finish(known | manifest, keep_worst)
    return cell


def _rows(images: Sequence[str], failed: Sequence[str] = (), **changed: object) -> Rows:
    return [
        (_failed_row if image in failed else _row)(image, rank) | changed
        for image in images
        for rank in range(1, RANKS + 1)
    ]


def _failed_row(image: str, rank: int) -> dict[str, object]:
    who = ("cell", "sweep", "image_id", "image_path", "data", "model", "explainer")
    who += ("transform", "parameter", "magnitude", "seed", "rank")
    row = _row(image, rank)
    return {name: row[name] if name in who else None for name in row} | {"error": "truncated"}


def _row(image: str, rank: int) -> dict[str, object]:
    return {
        "cell": "c0ffee",
        "sweep": "test",
        "image_id": image,
        "image_path": f"photos/{image}.png",
        "label_true": None,
        "data": "photos-0c0ffee0",
        "model": "vgg16",
        "explainer": "saliency",
        "transform": "rotation",
        "parameter": "angle",
        "magnitude": 10.0,
        "seed": 0,
        "rank": rank,
        "class_ref": 280 + rank,
        "label_ref": "tabby",
        "prob_ref": 0.438 / rank,
        "class_new": 281 + rank,
        "label_new": "lynx",
        "prob_new": 0.25 / rank,
        "prob_ref_new": 0.125,
        "flipped": True,
        "rmse": RMSE.get(image, 0.1) * rank,
        "nrmse": 2.0,
        "spearman": -0.5,
        "rmse_interpolation": 0.01,
        "rmse_sampling": 0.0,
        "valid_fraction": 0.9,
        "finite": True,
        "relevance_ratio": None,
        "bias_share": None,
        "stabilizer_share": None,
        "surrogate_r2": None,
        "num_samples": None,
        "coefficient_stderr": None,
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

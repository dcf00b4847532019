"""What the probe hands over: the rows of one image at one magnitude, and what is drawn of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from xai_sweep.data import ImageFile
from xai_sweep.metrics import Metric, Pairs
from xai_sweep.models import Classifier
from xai_sweep.store.heatmaps import Heatmaps


@dataclass(frozen=True, eq=False)
class Clean:
    """One image before it is changed, on the device.

    Attributes:
        image: ``[C, H, W]`` in normalised space.
        probabilities: of every class, ``float64``.
        targets: the K best classes.
        references: their heatmaps.
        sampling: RMSE of the references to those of a second seed; zero if nothing is drawn.
        segments: that copies are explained with, for methods that take them over.
    """

    file: ImageFile
    image: Float[Tensor, "c h w"]
    probabilities: Float[Tensor, " classes"]
    targets: Int64[Tensor, " k"]
    references: Float[Tensor, "k h w"]
    sampling: Float[Tensor, " k"]
    segments: Int64[Tensor, "h w"] | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """One image at one magnitude.

    Attributes:
        change: which of the probe's changes it is, counted from 0.
        rows: one per rank; the columns of the schema that depend on image and magnitude.
        drawing: the heatmaps and photos of this one image, if they were asked for.
    """

    image_id: str
    change: int
    magnitude: float
    rows: Sequence[Mapping[str, Any]]
    drawing: Heatmaps | None = None


def scores(
    metrics: Mapping[str, Metric],
    new: Float[Tensor, "b k h w"],
    reference: Float[Tensor, "b k h w"],
    region: Bool[Tensor, "b h w"],
) -> dict[str, Float[Tensor, "b k"]]:
    """Every metric for every heatmap and its reference, in the image's region."""
    # A CPU is a third faster with one image's maps at a time, which stay in its cache.
    at_once = 1 if new.device.type == "cpu" else max(1, len(new))
    sides = (new, reference, region[:, None])
    parts = zip(*(torch.split(maps, at_once) for maps in sides), strict=True)
    found = [
        {name: metric(pairs) for name, metric in metrics.items()}
        for pairs in (Pairs(*part) for part in parts)
    ]
    return {name: torch.cat([each[name] for each in found]) for name in metrics}


def image_rows(
    file: ImageFile, columns: Mapping[str, Sequence[Any]], classifier: Classifier
) -> list[dict[str, Any]]:
    """An image's rows, one per rank, from its columns."""
    ranks = len(next(iter(columns.values())))
    rows = [{name: values[rank] for name, values in columns.items()} for rank in range(ranks)]
    return [
        {
            **_who(file, rank),
            **row,
            "label_ref": classifier.label(row["class_ref"]),
            "label_new": classifier.label(row["class_new"]),
        }
        for rank, row in enumerate(rows, start=1)
    ]


def failed_rows(file: ImageFile, ranks: int, error: str) -> list[dict[str, Any]]:
    """The rows of an image that could not be compared: K of them too, so the table has no holes."""
    return [{**_who(file, rank), "error": error} for rank in range(1, ranks + 1)]


def _who(file: ImageFile, rank: int) -> dict[str, Any]:
    return {
        "image_id": file.image_id,
        "image_path": str(file.path),
        "label_true": file.label,
        "draw": 0,
        "error": None,
        "rank": rank,
    }


def drawings(
    clean: Sequence[Clean],
    copies: Float[Tensor, "b c h w"],
    heatmaps: Float[Tensor, "b k h w"],
    rmse: Float[Tensor, "b k"],
    classifier: Classifier,
) -> list[Heatmaps]:
    """What is needed to draw each image: photos, reference heatmaps and new heatmaps."""

    def photos(images: Tensor) -> Any:
        pixels = classifier.normalisation.to_pixels(images).clamp(0, 1) * 255
        return pixels.round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()

    together = Heatmaps(
        image_id=tuple(image.file.image_id for image in clean),
        rmse=rmse.mean(dim=1).float().cpu().numpy(),
        reference=torch.stack([image.references for image in clean]).float().cpu().numpy(),
        new=heatmaps.float().cpu().numpy(),
        photo=photos(torch.stack([image.image for image in clean])),
        photo_new=photos(copies),
    )
    return [together.select([index]) for index in range(len(clean))]

"""What the probe hands over: the rows of one image at one magnitude, and its heatmaps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int64, Num, Shaped
from torch import Tensor

from xai_sweep.data import ImageFile
from xai_sweep.metrics.base import Metric
from xai_sweep.metrics.maps import energy, largest
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.study.view import View


@dataclass(frozen=True, eq=False)
class Comparison:
    """One image at one magnitude.

    Attributes:
        curve: which of the probe's curves it belongs to, counted from 0.
        rows: one per draw and rank; the columns that depend on image and magnitude.
        heatmaps: heatmaps and photos of this one image, if they were asked for.
    """

    image_id: str
    curve: int
    magnitude: float
    rows: Sequence[Mapping[str, Any]]
    heatmaps: Heatmaps | None = None


def columns(
    view: View, metrics: Mapping[str, Metric], ranks: int
) -> dict[str, Shaped[Tensor, "b k"]]:
    """Every column that depends on image, magnitude and draw."""
    return {**_predicted(view, ranks), **_measured(view, metrics), **view.explained.facts}


def _measured(view: View, metrics: Mapping[str, Metric]) -> dict[str, Num[Tensor, "b k"]]:
    """The columns of every metric."""
    # A CPU is a third faster with one image's maps at a time, which stay in its cache.
    size = 1 if view.region.device.type == "cpu" else len(view.cases)
    found = [
        {name: values for metric in metrics.values() for name, values in metric(part).items()}
        for part in view.parts(size)
    ]
    return {name: torch.cat([each[name] for each in found]) for name in found[0]} if found else {}


def _predicted(view: View, ranks: int) -> dict[str, Shaped[Tensor, "b k"]]:
    """What the model said of both images, and how far image and logits moved."""
    targets, classifier = view.reference_targets, view.subject.classifier
    clean = classifier.probabilities(view.reference_logits)
    probabilities = classifier.probabilities(view.logits)
    classes = view.subject.best(view.logits, ranks)
    space = classifier.normalisation
    pixels = space.to_pixels(view.counterpart.images) - space.to_pixels(view.images)
    together = {
        "image_distance": energy(pixels).sum(dim=1).sqrt(),
        "logit_distance": (view.logits - view.reference_logits).norm(dim=1),
        "valid_fraction": view.region.double().mean(dim=(1, 2)),
    }
    heatmaps, reference = view.explained.heatmaps, view.reference
    return {
        "class_ref": targets,
        "prob_ref": clean.gather(1, targets),
        "class_new": classes,
        "prob_new": probabilities.gather(1, classes),
        "prob_ref_new": probabilities.gather(1, targets),
        "class_explained": view.targets,
        "flipped": _flipped(view, clean, probabilities, classes).expand_as(targets),
        **{name: values[:, None].expand_as(targets) for name, values in together.items()},
        "finite": largest(heatmaps).isfinite() & largest(reference).isfinite(),
    }


def _flipped(
    view: View,
    clean: Float64[Tensor, "b classes"],
    probabilities: Float64[Tensor, "b classes"],
    classes: Int64[Tensor, "b k"],
) -> Bool[Tensor, "b 1"]:
    """Whether another class is first, or the first one is there in one of the images only."""
    best = view.reference_targets[:, :1]
    moved = classes[:, :1] != best
    if view.subject.classifier.link == "sigmoid":
        moved |= (clean.gather(1, best) >= 0.5) != (probabilities.gather(1, best) >= 0.5)
    return moved


def rows(view: View, found: Mapping[str, Shaped[Tensor, "b k"]]) -> list[list[dict[str, Any]]]:
    """The rows of each case in a view, one per rank, from its columns."""
    ranks = view.targets.shape[1]
    values = {name: column.tolist() for name, column in found.items()}
    label = view.subject.classifier.label
    return [
        [
            {
                **_key(case.item, view.draw, rank),
                **(row := {name: column[index][rank - 1] for name, column in values.items()}),
                "label_ref": label(row["class_ref"]),
                "label_new": label(row["class_new"]),
            }
            for rank in range(1, ranks + 1)
        ]
        for index, case in enumerate(view.cases)
    ]


def failed_rows(item: ImageFile, draw: int, ranks: int, error: str) -> list[dict[str, Any]]:
    """The rows of an image that could not be compared: K of them too, so the table has no holes."""
    return [{**_key(item, draw, rank), "error": error} for rank in range(1, ranks + 1)]


def heatmaps(view: View, rmse: Float[Tensor, "b k"]) -> list[Heatmaps]:
    """What is needed to plot each case: photos and heatmaps; RMSE says which cases are worst."""
    together = Heatmaps(
        image_id=tuple(case.item.image_id for case in view.cases),
        rmse=rmse.mean(dim=1).float().cpu().numpy(),
        reference=view.reference.float().cpu().numpy(),
        new=view.explained.heatmaps.float().cpu().numpy(),
        photo=_photos(view, view.images),
        photo_new=_photos(view, view.counterpart.images),
    )
    return [together.select([index]) for index in range(len(view.cases))]


def _photos(view: View, images: Float[Tensor, "b c h w"]) -> Any:
    pixels = view.subject.classifier.normalisation.to_pixels(images).clamp(0, 1) * 255
    return pixels.round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _key(item: ImageFile, draw: int, rank: int) -> dict[str, Any]:
    return {
        "image_id": item.image_id,
        "image_path": str(item.path),
        "label_true": item.label,
        "draw": draw,
        "rank": rank,
    }

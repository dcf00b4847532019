"""The experiment: explain an image, change it, explain it again, and compare."""

from collections.abc import Mapping, Sequence
from functools import partial

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from xai_sweep.core.errors import Failure, InputError
from xai_sweep.core.seeds import derive
from xai_sweep.data import Batch, ImageFile
from xai_sweep.explainers import Accounted, Explainer, Segmented
from xai_sweep.metrics import RMSE, Metric
from xai_sweep.metrics.maps import largest
from xai_sweep.models import Classifier, evaluating
from xai_sweep.study.batching import Batching
from xai_sweep.study.comparison import (
    Clean,
    Comparison,
    drawings,
    failed_rows,
    image_rows,
    scores,
)
from xai_sweep.study.question import Change
from xai_sweep.transforms import Geometric
from xai_sweep.transforms.region import there_and_back_region, valid_region


class Probe(pl.LightningModule):
    """Measures curves of one model and one explainer, which share the clean images' heatmaps.

    Args:
        classifier: what is explained.
        explainer: how.
        changes: how images are changed, by how much, and what is asked: one per curve.
        metrics: how heatmaps are compared, by column name.
        batch_size: images explained at once, None to find it.
        draws: whether comparisons carry heatmaps and photos.
    """

    def __init__(
        self,
        classifier: Classifier,
        explainer: Explainer,
        changes: Sequence[Change],
        metrics: Mapping[str, Metric],
        batch_size: int | None = None,
        draws: bool = False,
    ) -> None:
        super().__init__()
        self.network = classifier.module
        self.classifier = classifier
        self.explainer = explainer
        self.changes = tuple(changes)
        self.metrics = dict(metrics)
        self.seed = changes[0].question.seed
        self.ranks = changes[0].question.ranks
        self.draws = draws
        self.clean_batches = Batching(batch_size)
        self.pair_batches = Batching(batch_size)
        self._regions: dict[tuple[int, float, int, int], tuple[Tensor, Tensor]] = {}

    def on_predict_start(self) -> None:
        """Bind here and not before, because Lightning has moved the network to its device now."""
        self.explain = self.explainer.bind(self.classifier)

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> list[Comparison]:
        """Explain the clean images once, then every change of them, one curve after the other.

        Returns:
            A comparison per image, curve and magnitude, failed images among them; of each curve
            in order.
        """
        readable = list(zip(batch.files, batch.images, strict=True))
        outcomes = dict(zip(batch.files, self.clean_batches.map(self.look, readable), strict=True))
        images = sorted([*outcomes.items(), *batch.failed], key=lambda each: each[0].image_id)
        return [
            comparison
            for change in range(len(self.changes))
            for comparison in self._curve(images, change)
        ]

    def _curve(
        self, images: Sequence[tuple[ImageFile, Clean | Failure]], change: int
    ) -> list[Comparison]:
        """Every image at every magnitude of one curve, in order."""
        magnitudes = self.changes[change].magnitudes
        pairs = [
            (clean, magnitude)
            for _, clean in images
            if isinstance(clean, Clean)
            for magnitude in magnitudes
        ]
        compared = iter(self.pair_batches.map(partial(self.compare, change=change), pairs))
        found: list[Comparison] = []
        for file, outcome in images:
            for magnitude in magnitudes:
                result = outcome if isinstance(outcome, Failure) else next(compared)
                if isinstance(result, Failure):
                    rows = failed_rows(file, self.ranks, result.error)
                    result = Comparison(file.image_id, change, magnitude, rows)
                found.append(result)
        return found

    def look(self, images: Sequence[tuple[ImageFile, Tensor]]) -> list[Clean]:
        """Predict and explain clean images: their K best classes, and the reference heatmaps."""
        files = [file for file, _ in images]
        pixels = torch.stack([image for _, image in images])
        probabilities = self.predict(pixels)
        targets = self._best(probabilities)
        references = self.explain(pixels, targets, self._seeds(files, "explainer"))
        sampling = torch.zeros_like(targets, dtype=torch.float64)
        if not self.explainer.is_deterministic:
            again = self.explain(pixels, targets, self._seeds(files, "explainer, second draw"))
            everywhere = torch.ones_like(references[:, 0], dtype=torch.bool)
            sampling = scores({"rmse": RMSE()}, again, references, everywhere)["rmse"]
        segments = self.explain.segments(pixels) if isinstance(self.explain, Segmented) else None
        kept = [None] * len(files) if segments is None else segments
        columns = (files, pixels, probabilities, targets, references, sampling, kept)
        return [Clean(*parts) for parts in zip(*columns, strict=True)]

    def compare(self, pairs: Sequence[tuple[Clean, float]], change: int = 0) -> list[Comparison]:
        """Change images, predict and explain them again, and compare with the moved reference."""
        transform, question = self.changes[change].transform, self.changes[change].question
        clean = [image for image, _ in pairs]
        files = [image.file for image in clean]
        images = torch.stack([image.image for image in clean])
        magnitudes = torch.tensor(
            [magnitude for _, magnitude in pairs], dtype=torch.float64, device=images.device
        )
        targets_ref = torch.stack([image.targets for image in clean])
        references = torch.stack([image.references for image in clean])

        copies = transform.apply(
            images, magnitudes, self._seeds(files, "transform"), self.classifier.normalisation
        )
        probabilities = self.predict(copies)
        classes_new = self._best(probabilities)
        targets = targets_ref if question.target == "class" else classes_new
        segments = self._segments(clean, magnitudes, change)
        heatmaps, health = self._accounted(
            copies, targets, self._seeds(files, "explainer"), segments
        )

        moved, floor = references, torch.zeros_like(targets, dtype=torch.float64)
        region, home = self._region(magnitudes, (images.shape[-2], images.shape[-1]), change)
        if isinstance(transform, Geometric):
            moved = transform.move(references, magnitudes)
            returned = transform.move_back(moved, magnitudes)
            floor = scores({"rmse": RMSE()}, returned, references, home)["rmse"]
        # RMSE also says which images are worst, so it is there whether chosen or not.
        measured = scores({"rmse": RMSE(), **self.metrics}, heatmaps, moved, region)

        prob_ref = torch.stack([image.probabilities for image in clean]).gather(1, targets_ref)
        columns = {
            "class_ref": targets_ref,
            "prob_ref": prob_ref,
            "class_new": classes_new,
            "prob_new": probabilities.gather(1, classes_new),
            "prob_ref_new": probabilities.gather(1, targets_ref),
            "class_explained": targets,
            "image_distance": self._distance(images, copies)[:, None].expand_as(targets),
            "logit_distance": torch.full_like(prob_ref, torch.nan),
            "flipped": (classes_new[:, :1] != targets_ref[:, :1]).expand_as(targets),
            **{name: measured[name] for name in self.metrics},
            "rmse_there_and_back": floor,
            "rmse_second_draw": torch.stack([image.sampling for image in clean]),
            "valid_fraction": region.double().mean(dim=(1, 2))[:, None].expand_as(targets),
            "finite": largest(heatmaps).isfinite() & largest(references).isfinite(),
            **health,
        }
        values = {name: column.tolist() for name, column in columns.items()}
        drawn = (
            drawings(clean, copies, heatmaps, measured["rmse"], self.classifier)
            if self.draws
            else [None] * len(clean)
        )
        return [
            Comparison(
                file.image_id,
                change,
                magnitude,
                image_rows(file, {n: v[index] for n, v in values.items()}, self.classifier),
                drawn[index],
            )
            for index, (file, magnitude) in enumerate(zip(files, magnitudes.tolist(), strict=True))
        ]

    def predict(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Class probabilities, ``float64``."""
        with torch.no_grad(), evaluating(self.network):
            logits: Tensor = self.network(images)
        return logits.double().softmax(dim=1)

    def _accounted(
        self, images: Tensor, targets: Tensor, seeds: Tensor, segments: Tensor | None
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Heatmaps, and the columns of health that the method can give."""
        if isinstance(self.explain, Segmented):
            return self.explain.accounted(images, targets, seeds, segments)
        if isinstance(self.explain, Accounted):
            return self.explain.accounted(images, targets, seeds)
        return self.explain(images, targets, seeds), {}

    def _segments(
        self, clean: Sequence[Clean], magnitudes: Float[Tensor, " b"], change: int
    ) -> Int64[Tensor, "b h w"] | None:
        """The segments of the clean images, moved along; None if copies find their own."""
        kept = [image.segments for image in clean if image.segments is not None]
        if not kept:
            return None
        segments, transform = torch.stack(kept), self.changes[change].transform
        if isinstance(transform, Geometric):
            return transform.move_labels(segments, magnitudes)
        return segments

    def _distance(self, images: Tensor, copies: Tensor) -> Tensor:
        pixels = self.classifier.normalisation.to_pixels
        moved = (pixels(copies) - pixels(images)).double().flatten(1)
        return torch.linalg.vector_norm(moved, dim=1)

    def _best(self, probabilities: Float[Tensor, "b classes"]) -> Int64[Tensor, "b k"]:
        classes = probabilities.shape[1]
        if self.ranks > classes:
            raise InputError("ranks", self.ranks, f"must be at most {classes}, the model's classes")
        return probabilities.topk(self.ranks, dim=1).indices

    def _seeds(self, files: Sequence[ImageFile], purpose: str) -> Int64[Tensor, " b"]:
        return torch.tensor([derive(self.seed, file.image_id, purpose) for file in files])

    def _region(
        self, magnitudes: Float[Tensor, " b"], size: tuple[int, int], change: int
    ) -> tuple[Bool[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """Each pair's valid region, and the region that survives there and back."""
        regions = []
        for magnitude in magnitudes.tolist():
            key = (change, magnitude, *size)
            if key not in self._regions:
                self._regions[key] = self._make_region(self.changes[change], magnitude, size)
            regions.append(self._regions[key])
        valid, home = zip(*regions, strict=True)
        return torch.stack(valid), torch.stack(home)

    def _make_region(
        self, change: Change, magnitude: float, size: tuple[int, int]
    ) -> tuple[Bool[Tensor, "h w"], Bool[Tensor, "h w"]]:
        transform, question = change.transform, change.question
        together = torch.tensor(
            [magnitude, *question.region_of], dtype=torch.float64, device=self.device
        )
        valid = valid_region(transform, together, size, question.region).all(dim=0)
        if not isinstance(transform, Geometric):
            return valid, valid
        return valid, there_and_back_region(transform, together[:1], size)[0]

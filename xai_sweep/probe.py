"""The experiment: explain an image, change it, explain it again, and compare."""

from collections.abc import Mapping, Sequence

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from xai_sweep.batching import Batching
from xai_sweep.comparison import Clean, Comparison, drawings, failed_rows, image_rows, scores
from xai_sweep.data import Batch, ImageFile
from xai_sweep.errors import Failure, InputError
from xai_sweep.explainers import Accounted, Explainer, Segmented
from xai_sweep.metrics import RMSE, Metric
from xai_sweep.metrics.maps import largest
from xai_sweep.models import Classifier, evaluating
from xai_sweep.question import Question
from xai_sweep.seeds import derive
from xai_sweep.transforms import Geometric, Transform
from xai_sweep.transforms.region import there_and_back_region, valid_region


class Probe(pl.LightningModule):
    """Measures one curve: a model, an explainer and a transform at several magnitudes.

    Args:
        classifier: what is explained.
        explainer: how.
        transform: how images are changed.
        magnitudes: by how much, in native units.
        metrics: how heatmaps are compared, by column name.
        question: what is asked.
        batch_size: images explained at once, None to find it.
        draws: whether comparisons carry heatmaps and photos.
    """

    def __init__(
        self,
        classifier: Classifier,
        explainer: Explainer,
        transform: Transform,
        magnitudes: Sequence[float],
        metrics: Mapping[str, Metric],
        question: Question,
        batch_size: int | None = None,
        draws: bool = False,
    ) -> None:
        super().__init__()
        self.network = classifier.module
        self.classifier = classifier
        self.explainer = explainer
        self.transform = transform
        self.magnitudes = tuple(magnitudes)
        self.metrics = dict(metrics)
        self.question = question
        self.draws = draws
        self.clean_batches = Batching(batch_size)
        self.pair_batches = Batching(batch_size)
        self._regions: dict[tuple[float, int, int], tuple[Tensor, Tensor]] = {}

    def on_predict_start(self) -> None:
        """Bind here and not before, because Lightning has moved the network to its device now."""
        self.explain = self.explainer.bind(self.classifier)

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> list[Comparison]:
        """Explain the clean images once, then every (image, magnitude) pair.

        Returns:
            A comparison per image and magnitude, failed images among them, in order.
        """
        readable = list(zip(batch.files, batch.images, strict=True))
        outcomes = dict(zip(batch.files, self.clean_batches.map(self.look, readable), strict=True))
        pairs = [
            (clean, magnitude)
            for clean in outcomes.values()
            if isinstance(clean, Clean)
            for magnitude in self.magnitudes
        ]
        compared = self.pair_batches.map(self.compare, pairs)

        found: dict[tuple[ImageFile, float], Comparison | Failure] = {
            (file, magnitude): outcome
            for file, outcome in [*outcomes.items(), *batch.failed]
            for magnitude in self.magnitudes
            if not isinstance(outcome, Clean)
        }
        found |= {
            (clean.file, magnitude): result
            for (clean, magnitude), result in zip(pairs, compared, strict=True)
        }
        ordered = sorted(found.items(), key=lambda item: (item[0][0].image_id, item[0][1]))
        return [
            self._failed(file, magnitude, result) if isinstance(result, Failure) else result
            for (file, magnitude), result in ordered
        ]

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

    def compare(self, pairs: Sequence[tuple[Clean, float]]) -> list[Comparison]:
        """Change images, predict and explain them again, and compare with the moved reference."""
        clean = [image for image, _ in pairs]
        files = [image.file for image in clean]
        images = torch.stack([image.image for image in clean])
        magnitudes = torch.tensor(
            [magnitude for _, magnitude in pairs], dtype=torch.float64, device=images.device
        )
        targets_ref = torch.stack([image.targets for image in clean])
        references = torch.stack([image.references for image in clean])

        copies = self.transform.apply(
            images, magnitudes, self._seeds(files, "transform"), self.classifier.normalisation
        )
        probabilities = self.predict(copies)
        classes_new = self._best(probabilities)
        targets = targets_ref if self.question.target == "class" else classes_new
        heatmaps, health = self._accounted(
            copies, targets, self._seeds(files, "explainer"), self._segments(clean, magnitudes)
        )

        moved, floor = references, torch.zeros_like(targets, dtype=torch.float64)
        region, home = self._region(magnitudes, (images.shape[-2], images.shape[-1]))
        if isinstance(self.transform, Geometric):
            moved = self.transform.move(references, magnitudes)
            returned = self.transform.move_back(moved, magnitudes)
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
            "flipped": (classes_new[:, :1] != targets_ref[:, :1]).expand_as(targets),
            **{name: measured[name] for name in self.metrics},
            "rmse_interpolation": floor,
            "rmse_sampling": torch.stack([image.sampling for image in clean]),
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
        self, clean: Sequence[Clean], magnitudes: Float[Tensor, " b"]
    ) -> Int64[Tensor, "b h w"] | None:
        """The segments of the clean images, moved along; None if copies find their own."""
        kept = [image.segments for image in clean if image.segments is not None]
        if not kept:
            return None
        segments = torch.stack(kept)
        if isinstance(self.transform, Geometric):
            return self.transform.move_labels(segments, magnitudes)
        return segments

    def _best(self, probabilities: Float[Tensor, "b classes"]) -> Int64[Tensor, "b k"]:
        classes = probabilities.shape[1]
        if self.question.ranks > classes:
            raise InputError(
                "ranks", self.question.ranks, f"must be at most {classes}, the model's classes"
            )
        return probabilities.topk(self.question.ranks, dim=1).indices

    def _seeds(self, files: Sequence[ImageFile], purpose: str) -> Int64[Tensor, " b"]:
        return torch.tensor([derive(self.question.seed, file.image_id, purpose) for file in files])

    def _region(
        self, magnitudes: Float[Tensor, " b"], size: tuple[int, int]
    ) -> tuple[Bool[Tensor, "b h w"], Bool[Tensor, "b h w"]]:
        """Each pair's valid region, and the region that survives there and back."""
        regions = []
        for magnitude in magnitudes.tolist():
            key = (magnitude, *size)
            if key not in self._regions:
                self._regions[key] = self._make_region(magnitude, size)
            regions.append(self._regions[key])
        valid, home = zip(*regions, strict=True)
        return torch.stack(valid), torch.stack(home)

    def _make_region(
        self, magnitude: float, size: tuple[int, int]
    ) -> tuple[Bool[Tensor, "h w"], Bool[Tensor, "h w"]]:
        together = torch.tensor(
            [magnitude, *self.question.region_of], dtype=torch.float64, device=self.device
        )
        valid = valid_region(self.transform, together, size, self.question.region).all(dim=0)
        if not isinstance(self.transform, Geometric):
            return valid, valid
        return valid, there_and_back_region(self.transform, together[:1], size)[0]

    def _failed(self, file: ImageFile, magnitude: float, failure: Failure) -> Comparison:
        rows = failed_rows(file, self.question.ranks, failure.error)
        return Comparison(file.image_id, magnitude, rows)

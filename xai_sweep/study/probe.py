"""The experiment: explain an image, change it, explain it again, and measure both."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.core.errors import Failure
from xai_sweep.data import Batch, ImageFile
from xai_sweep.metrics.base import Metric, Need
from xai_sweep.metrics.similarity.rmse import RMSE
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.study.batching import Batching
from xai_sweep.study.case import Annotation, Case, seed
from xai_sweep.study.question import Change
from xai_sweep.study.rows import Comparison, columns, failed_rows, heatmaps, rows
from xai_sweep.study.subject import Subject
from xai_sweep.study.views import Views

# Rows of one pair, one per rank, and its heatmaps if they are kept.
Measured = tuple[list[dict[str, Any]], Heatmaps | None]


class Probe(pl.LightningModule):
    """Measures curves of one subject, which share the clean images' heatmaps.

    Args:
        subject: what is explained, and how.
        changes: how images are changed, by how much, and what is asked: one per curve.
        metrics: what is measured, by the name of the configuration's entry.
        batch_size: images explained at once, None to find it.
        keep_heatmaps: whether comparisons carry heatmaps and photos.
    """

    def __init__(
        self,
        subject: Subject,
        changes: Sequence[Change],
        metrics: Mapping[str, Metric],
        batch_size: int | None = None,
        keep_heatmaps: bool = False,
    ) -> None:
        super().__init__()
        self.network = subject.classifier.module  # so that Lightning moves it to its device
        self.subject = subject
        self.changes = tuple(changes)
        self.views = [Views(subject, change.question) for change in changes]
        # RMSE says which heatmaps are worst, whether it is chosen or not.
        self.metrics = {**({"rmse": RMSE()} if keep_heatmaps else {}), **metrics}
        self.seed = changes[0].question.seed
        self.ranks = changes[0].question.ranks
        self.keep_heatmaps = keep_heatmaps
        needs = {need for metric in metrics.values() for need in metric.needs}
        is_random = not subject.explainer.is_deterministic
        self.draws_twice = is_random and Need.SECOND_DRAW in needs
        self.case_batches = Batching(batch_size)
        self.pair_batches = Batching(batch_size)

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> list[Comparison]:
        """Explain the clean images once, then every change of them, one curve after the other.

        Returns:
            A comparison per image, curve and magnitude, failed images among them; of each curve
            in order.
        """
        readable = list(zip(batch.files, batch.images, batch.annotations, strict=True))
        made = dict(zip(batch.files, self.case_batches.map(self.cases, readable), strict=True))
        outcomes = sorted([*made.items(), *batch.failed], key=lambda each: each[0].image_id)
        return [
            comparison
            for curve in range(len(self.changes))
            for comparison in self._curve(outcomes, curve)
        ]

    def _curve(
        self, outcomes: Sequence[tuple[ImageFile, Case | Failure]], curve: int
    ) -> list[Comparison]:
        """Every image at every magnitude of one curve, in order."""
        change = self.changes[curve]
        cases = [case for _, case in outcomes if isinstance(case, Case)]
        draws = range(change.question.draws)
        measured: dict[tuple[str, float], list[Measured]] = defaultdict(list)
        for draw in draws:
            for magnitudes in self._together(change):
                pairs = [(case, magnitude) for case in cases for magnitude in magnitudes]
                work = partial(self.compare, curve=curve, draw=draw)
                for pair, found in zip(pairs, self.pair_batches.map(work, pairs), strict=True):
                    case, magnitude = pair
                    if isinstance(found, Failure):
                        found = failed_rows(case.item, draw, self.ranks, found.error), None
                    measured[case.item.image_id, magnitude].append(found)
        for item, outcome in outcomes:
            if isinstance(outcome, Failure):
                for magnitude in change.magnitudes:
                    measured[item.image_id, magnitude] = [
                        (failed_rows(item, draw, self.ranks, outcome.error), None) for draw in draws
                    ]
        return [
            Comparison(
                item.image_id,
                curve,
                magnitude,
                [row for rows, _ in measured[item.image_id, magnitude] for row in rows],
                measured[item.image_id, magnitude][0][1],
            )
            for item, _ in outcomes
            for magnitude in change.magnitudes
        ]

    def _together(self, change: Change) -> list[tuple[float, ...]]:
        """The magnitudes that may share a batch."""
        if change.transform.shares_subject:
            return [change.magnitudes]
        return [(magnitude,) for magnitude in change.magnitudes]

    def cases(self, images: Sequence[tuple[ImageFile, Tensor, Annotation | None]]) -> list[Case]:
        """Predict and explain clean images: their K best classes, and the reference heatmaps."""
        items = [item for item, _, _ in images]
        pixels = torch.stack([image for _, image, _ in images])
        logits = self.subject.logits(pixels, self._seeds(items, "network"))
        targets = self.subject.best(logits, self.ranks)
        reference = self.subject.explain(pixels, targets, self._seeds(items, "explainer"))
        second: Sequence[Float[Tensor, "k h w"] | None] = [None] * len(items)
        if self.draws_twice:
            again = self._seeds(items, "explainer, second draw")
            second = [*self.subject.explain(pixels, targets, again).heatmaps]
        carried = [None] * len(items) if reference.carried is None else [*reference.carried]
        return [
            Case(
                item,
                image=pixels[index],
                logits=logits[index],
                targets=targets[index],
                reference=reference.heatmaps[index],
                root=self.seed,
                carried=carried[index],
                second=second[index],
                annotation=annotation,
            )
            for index, (item, _, annotation) in enumerate(images)
        ]

    def compare(
        self, pairs: Sequence[tuple[Case, float]], curve: int = 0, draw: int = 0
    ) -> list[Measured]:
        """Change images, predict and explain them again, and measure: rows and heatmaps of each."""
        cases = [case for case, _ in pairs]
        magnitudes = torch.tensor(
            [magnitude for _, magnitude in pairs], dtype=torch.float64, device=cases[0].image.device
        )
        view = self.views[curve].make(self.changes[curve].transform, cases, magnitudes, draw)
        found = columns(view, self.metrics, self.ranks)
        kept: Sequence[Heatmaps | None] = [None] * len(cases)
        if self.keep_heatmaps and draw == 0:
            kept = heatmaps(view, found["rmse"])
        return list(zip(rows(view, found), kept, strict=True))

    def _seeds(self, items: Sequence[ImageFile], purpose: str) -> Int64[Tensor, " b"]:
        return torch.tensor([seed(self.seed, item, purpose) for item in items])

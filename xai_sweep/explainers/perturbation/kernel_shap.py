"""Kernel SHAP on superpixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import Dice, dice_for
from xai_sweep.explainers.base import Explain, Explainer
from xai_sweep.explainers.baselines import baseline_like, check_baseline
from xai_sweep.explainers.perturbation.perturbed import perturbed_scores
from xai_sweep.explainers.perturbation.segments import check_segments, segmented
from xai_sweep.explainers.perturbation.shapley import draw_coalitions, shapley_values
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class KernelShap(Explainer):
    """Shapley values of an image's segments, estimated by weighted least squares.

    A segment's value is spread evenly over its pixels, so the heatmap sums to the logit of the
    image less that of the baseline. Without seeds every image takes seed 0.

    Source: Lundberg and Lee 2017, "A unified approach to interpreting model predictions",
    theorem 2; coalitions in pairs: Covert and Lee 2021, "Improving KernelSHAP", section 4.

    Attributes:
        segmentation: ``slic`` or ``grid``.
        segments: about how many.
        samples: coalitions per image, an even number.
        baseline: what replaces a segment: ``mean`` (zero in the network's normalised space),
            ``black`` or ``white``.
    """

    segmentation: str = "slic"
    segments: int = 50
    samples: int = 512
    baseline: str = "mean"

    is_deterministic: ClassVar[bool] = False
    conserves: ClassVar[bool] = True
    source: ClassVar[str] = "Lundberg and Lee 2017, arXiv:1705.07874"

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        check_segments(self.segmentation, self.segments)
        if self.samples < 2 or self.samples % 2:
            raise InputError("explainer.samples", self.samples, "must be even and at least 2")

    def cost_in_forwards(self, targets: int = 1) -> float:
        """See `Explainer.cost_in_forwards`; does not depend on the number of targets."""
        return 2.0 + self.samples

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            labels = segmented(images, self.segmentation, self.segments, classifier)
            coalitions = self._coalitions(labels, dice_for(seeds, len(images)))
            cover = baseline_like(images, self.baseline, classifier)
            masks = _absent(labels, coalitions.to(images.device))
            scores = perturbed_scores(classifier, images, cover, masks, targets).double()
            values = shapley_values(
                coalitions.to(images.device),
                torch.ones_like(scores[:, 2:, 0]),
                scores[:, 2:],
                nothing=scores[:, 0],
                everything=scores[:, 1],
            )
            where = labels.flatten(1)
            sizes = torch.zeros_like(values[:, 0]).scatter_add_(
                1, where, torch.ones_like(where, dtype=torch.float64)
            )
            each = values / sizes.clamp(min=1)[:, None]
            painted = each.gather(2, where[:, None].expand(-1, targets.shape[1], -1))
            return painted.view(*targets.shape, *labels.shape[1:]).to(images.dtype)

        return explain

    def _coalitions(self, labels: Tensor, dice: Dice) -> Bool[Tensor, "b n p"]:
        """Each image's own, among its own segments; there is nobody beyond them."""
        players = [int(each) + 1 for each in labels.flatten(1).amax(dim=1)]
        drawn = torch.zeros(len(labels), self.samples, max(players), dtype=torch.bool)
        for image, (stream, count) in enumerate(zip(dice.streams, players, strict=True)):
            drawn[image, :, :count] = draw_coalitions(stream, self.samples, count)
        return drawn


def _absent(
    labels: Int64[Tensor, "b h w"], coalitions: Bool[Tensor, "b n p"]
) -> Iterator[Bool[Tensor, "b h w"]]:
    """The pixels to replace: all, none, then those of the segments that take no part."""
    yield torch.ones_like(labels, dtype=torch.bool)
    yield torch.zeros_like(labels, dtype=torch.bool)
    where = labels.flatten(1)
    for number in range(coalitions.shape[1]):
        yield ~coalitions[:, number].gather(1, where).view_as(labels)

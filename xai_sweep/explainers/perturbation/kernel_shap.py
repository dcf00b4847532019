"""Kernel SHAP on superpixels."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import RandomStreams, streams_for
from xai_sweep.explainers.base import Explained, Explainer, Needs
from xai_sweep.explainers.baselines import (
    BASELINE_FACTS,
    Baseline,
    baseline_facts,
    baseline_like,
)
from xai_sweep.explainers.perturbation.perturbed import perturbed_scores
from xai_sweep.explainers.perturbation.shapley import draw_coalitions, shapley_values
from xai_sweep.explainers.perturbation.superpixels import (
    CountedSegmentation,
    SuperpixelFinder,
    options_for,
)
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class KernelShap(Explainer):
    """Shapley values of an image's superpixels, estimated by weighted least squares.

    A superpixel's value is spread evenly over its pixels, so that the heatmap sums to the logit of
    the image minus that of the baseline.

    Source: Lundberg and Lee 2017, "A unified approach to interpreting model predictions",
    theorem 2; coalitions in pairs: Covert and Lee 2021, "Improving KernelSHAP", section 4.

    Attributes:
        segmentation: ``slic`` or ``grid``.
        num_superpixels: about how many.
        samples: coalitions per image, an even number.
        baseline: what replaces a superpixel: ``mean`` (zero in the network's normalised space),
            ``black`` or ``white``.
    """

    segmentation: CountedSegmentation = "slic"
    num_superpixels: Annotated[int, Ge(2)] = 50
    samples: Annotated[int, Ge(2)] = 512
    baseline: Baseline = "mean"
    _find: SuperpixelFinder = field(init=False, repr=False, compare=False)

    is_deterministic: ClassVar[bool] = False
    conserves: ClassVar[bool] = True
    facts: ClassVar[tuple[Column, ...]] = BASELINE_FACTS
    needs: ClassVar[Needs] = "answers"
    source: ClassVar[str] = "Lundberg and Lee 2017, arXiv:1705.07874"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples % 2:
            raise InputError("explainer.samples", self.samples, "must be even and at least 2")
        options = options_for(self.segmentation, self.num_superpixels)
        object.__setattr__(self, "_find", SuperpixelFinder(self.segmentation, options))

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return 2.0 + self.samples

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        labels = self._find(classifier.normalisation.to_pixels(images))
        coalitions = self._coalitions(labels, streams_for(seeds, len(images))).to(images.device)
        cover = baseline_like(images, self.baseline, classifier)
        masks = _absent(labels, coalitions)
        scores = perturbed_scores(classifier, images, cover, masks, targets).double()
        nothing, everything = scores[:, 0], scores[:, 1]
        weights = torch.ones_like(scores[:, 2:, 0])
        values = shapley_values(coalitions, weights, scores[:, 2:], nothing, everything)
        heatmaps = _spread(values, labels)
        facts = baseline_facts(heatmaps, everything, nothing)
        return Explained(heatmaps.to(images.dtype), facts)

    def _coalitions(self, labels: Tensor, streams: RandomStreams) -> Bool[Tensor, "b n p"]:
        """Coalitions of each image, drawn from its own superpixels only."""
        players = [int(each) + 1 for each in labels.flatten(1).amax(dim=1)]
        drawn = torch.zeros(len(labels), self.samples, max(players), dtype=torch.bool)
        for image, (generator, count) in enumerate(zip(streams.generators, players, strict=True)):
            drawn[image, :, :count] = draw_coalitions(generator, self.samples, count)
        return drawn


def _spread(
    values: Float[Tensor, "b k p"], labels: Int64[Tensor, "b h w"]
) -> Float[Tensor, "b k h w"]:
    """Each superpixel's value in equal parts on its pixels."""
    where = labels.flatten(1)
    sizes = torch.zeros_like(values[:, 0]).scatter_add_(
        1, where, torch.ones_like(where, dtype=torch.float64)
    )
    each = values / sizes.clamp(min=1)[:, None]
    painted = each.gather(2, where[:, None].expand(-1, values.shape[1], -1))
    return painted.view(*values.shape[:2], *labels.shape[1:])


def _absent(
    labels: Int64[Tensor, "b h w"], coalitions: Bool[Tensor, "b n p"]
) -> Iterator[Bool[Tensor, "b h w"]]:
    """The pixels to replace: all, none, then those of the superpixels outside each coalition."""
    yield torch.ones_like(labels, dtype=torch.bool)
    yield torch.zeros_like(labels, dtype=torch.bool)
    where = labels.flatten(1)
    for number in range(coalitions.shape[1]):
        yield ~coalitions[:, number].gather(1, where).view_as(labels)

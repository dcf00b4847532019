"""Integrated gradients."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.explainers.base import Explained, Explainer, pixel_gradients, target_scores
from xai_sweep.explainers.baselines import (
    BASELINE_FACTS,
    Baseline,
    baseline_facts,
    baseline_like,
)
from xai_sweep.graphs.quickest import quickest
from xai_sweep.models.classifier import Classifier, evaluating


@dataclass(frozen=True)
class IntegratedGradients(Explainer):
    """The gradient averaged along the straight line from a baseline to the image, times its length.

    The heatmap sums to the logit of the image minus that of the baseline, up to the error of the
    quadrature (Gauss-Legendre). Each point of the path is one forward pass for all K targets.

    Source: Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks", equation 1.

    Attributes:
        baseline: ``mean`` (zero in the network's normalised space), ``black`` or ``white``.
        steps: points on the path.
    """

    baseline: Baseline = "mean"
    steps: Annotated[int, Ge(1)] = 50

    conserves: ClassVar[bool] = True
    facts: ClassVar[tuple[Column, ...]] = BASELINE_FACTS
    source: ClassVar[str] = "Sundararajan et al. 2017, arXiv:1703.01365"

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return 2.0 + self.steps * (1.0 + targets)

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)
        start = baseline_like(images, self.baseline, classifier)
        difference = images.detach() - start
        total = torch.zeros_like(difference).unsqueeze(1)
        # From [-1, 1], where the quadrature is tabulated, to [0, 1].
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            at = start + float(node) * difference
            total = total + float(weight) * pixel_gradients(classifier, at, targets, often=True)
        heatmaps = (difference.unsqueeze(1) * total).sum(dim=2)
        ends = _logits(classifier, images, start[:1], targets)
        return Explained(heatmaps, baseline_facts(heatmaps, *ends))


def _logits(
    classifier: Classifier,
    images: Float[Tensor, "b c h w"],
    baseline: Float[Tensor, "1 c h w"],
    targets: Int64[Tensor, "b k"],
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
    """The targets' logits for each image, and for the baseline, which all images share."""
    with torch.no_grad(), evaluating(classifier.module):
        network = quickest(classifier, images, gradients=True)
        logits = network(torch.cat([images.detach(), baseline]))
        ends = logits[-1:].expand(len(images), -1)
        return target_scores(logits[:-1], targets), target_scores(ends, targets)

"""Integrated gradients."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import Explain, Explainer, pixel_gradients
from xai_sweep.explainers.baselines import baseline_like, check_baseline
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class IntegratedGradients(Explainer):
    """The gradient averaged on the straight line from a baseline, times the way to the image.

    The heatmap sums to the logit of the image less that of the baseline, up to the error of the
    quadrature (Gauss-Legendre). Every point of the path is one forward pass for all K targets.

    Source: Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks", equation 1.

    Attributes:
        baseline: ``mean`` (zero in the network's normalised space), ``black`` or ``white``.
        steps: points on the path.
    """

    baseline: str = "mean"
    steps: int = 50

    conserves: ClassVar[bool] = True
    source: ClassVar[str] = "Sundararajan et al. 2017, arXiv:1703.01365"

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        if self.steps < 1:
            raise InputError("explainer.steps", self.steps, "must be at least 1")

    def cost_in_forwards(self, targets: int = 1) -> float:
        """See `Explainer.cost_in_forwards`."""
        return self.steps * (1.0 + targets)

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            start = baseline_like(images, self.baseline, classifier)
            way = images.detach() - start
            total = torch.zeros_like(way).unsqueeze(1)
            # From [-1, 1], where the quadrature is tabulated, to [0, 1].
            for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
                gradients = pixel_gradients(
                    classifier, start + float(node) * way, targets, often=True
                )
                total = total + float(weight) * gradients
            return (way.unsqueeze(1) * total).sum(dim=2)

        return explain

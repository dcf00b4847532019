"""Gradient SHAP."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import dice_for
from xai_sweep.explainers.base import Explain, Explainer, pixel_gradients
from xai_sweep.explainers.baselines import BASELINES, baseline_like
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class GradientShap(Explainer):
    """Expected gradients: integrated gradients, averaged over baselines and noisy copies.

    Each sample takes a baseline, a noisy copy of the image and a point between the two, all at
    random, and adds the gradient there times the way from baseline to copy. Without seeds every
    image takes seed 0.

    Source: Lundberg and Lee 2017, "A unified approach to interpreting model predictions"; Erion et
    al. 2021, "Improving performance of deep learning models with axiomatic attribution priors and
    expected gradients", equation 3.

    Attributes:
        baseline: ``colours``, a picture of one random colour for each sample; or always ``mean``,
            ``black`` or ``white``.
        samples: random points per image.
        noise: standard deviation of the noise on the image, in normalised space; 0 for none.
    """

    baseline: str = "colours"
    samples: int = 50
    noise: float = 0.0

    is_deterministic: ClassVar[bool] = False
    source: ClassVar[str] = "Lundberg and Lee 2017, arXiv:1705.07874; Erion et al. 2021"

    def __post_init__(self) -> None:
        if self.baseline not in ("colours", *BASELINES):
            allowed = f"must be one of colours, {', '.join(BASELINES)}"
            raise InputError("explainer.baseline", self.baseline, allowed)
        if self.samples < 1:
            raise InputError("explainer.samples", self.samples, "must be at least 1")
        if self.noise < 0:
            raise InputError("explainer.noise", self.noise, "must be at least 0")

    def cost_in_forwards(self, targets: int = 1) -> float:
        """See `Explainer.cost_in_forwards`."""
        return self.samples * (1.0 + targets)

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            dice = dice_for(seeds, len(images))
            total = torch.zeros_like(images).unsqueeze(1)
            for _ in range(self.samples):
                copies = images.detach()
                if self.noise:
                    copies = copies + self.noise * dice.normal(tuple(images.shape[1:])).to(images)
                if self.baseline == "colours":
                    colours = dice.uniform((images.shape[1], 1, 1)).to(images)
                    start = classifier.normalisation.to_normalised(colours.expand_as(images))
                else:
                    start = baseline_like(images, self.baseline, classifier)
                way = copies - start
                at = start + dice.uniform((1, 1, 1)).to(images) * way
                gradients = pixel_gradients(classifier, at, targets, often=True)
                total = total + way.unsqueeze(1) * gradients
            return total.sum(dim=2) / self.samples

        return explain

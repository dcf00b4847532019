"""Gradient SHAP."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.seeds import RandomStreams, streams_for
from xai_sweep.explainers.base import Explained, Explainer, pixel_gradients
from xai_sweep.explainers.baselines import Baseline, baseline_like
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class GradientShap(Explainer):
    """Expected gradients: integrated gradients, averaged over baselines and noisy copies.

    Each of the random points lies between a random baseline and a noisy copy of the image; the
    gradient there is multiplied by the difference of copy and baseline.

    Source: Lundberg and Lee 2017, "A unified approach to interpreting model predictions"; Erion et
    al. 2021, "Improving performance of deep learning models with axiomatic attribution priors and
    expected gradients", equation 3.

    Attributes:
        baseline: ``colours``, a new plain image of a random colour for each point; or always
            ``mean``, ``black`` or ``white``.
        samples: random points per image.
        noise: standard deviation of the noise on the image, in normalised space; 0 for none.
    """

    baseline: Literal["colours"] | Baseline = "colours"
    samples: Annotated[int, Ge(1)] = 50
    noise: Annotated[float, Ge(0)] = 0.0

    is_deterministic: ClassVar[bool] = False
    source: ClassVar[str] = "Lundberg and Lee 2017, arXiv:1705.07874; Erion et al. 2021"

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return self.samples * (1.0 + targets)

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        streams = streams_for(seeds, len(images))
        total = torch.zeros_like(images).unsqueeze(1)
        for _ in range(self.samples):
            copies = images.detach()
            if self.noise:
                copies = copies + self.noise * streams.normal(tuple(images.shape[1:])).to(images)
            start = self._baseline(images, streams, classifier)
            difference = copies - start
            at = start + streams.uniform((1, 1, 1)).to(images) * difference
            gradients = pixel_gradients(classifier, at, targets, often=True)
            total = total + difference.unsqueeze(1) * gradients
        return Explained(total.sum(dim=2) / self.samples)

    def _baseline(self, images: Tensor, streams: RandomStreams, classifier: Classifier) -> Tensor:
        if self.baseline != "colours":
            return baseline_like(images, self.baseline, classifier)
        colours = streams.uniform((images.shape[1], 1, 1)).to(images)
        return classifier.normalisation.to_normalised(colours.expand_as(images))

"""SmoothGrad."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import dice_for
from xai_sweep.explainers.base import Explain, Explainer, pixel_gradients
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class SmoothGrad(Explainer):
    """The gradient averaged over copies of the image with Gaussian noise.

    Without seeds every image takes seed 0.

    Source: Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise", section 3.

    Attributes:
        samples: noisy copies per image.
        noise: standard deviation of the noise, as a part of the image's largest value less its
            smallest, in normalised space; the paper recommends 0.1 to 0.2.
    """

    samples: int = 50
    noise: float = 0.15

    is_deterministic: ClassVar[bool] = False
    source: ClassVar[str] = "Smilkov et al. 2017, arXiv:1706.03825"

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError("explainer.samples", self.samples, "must be at least 1")
        if not self.noise > 0:
            raise InputError("explainer.noise", self.noise, "must be more than 0")

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
            low, high = images.detach().flatten(1).aminmax(dim=1)
            sigma = self.noise * (high - low)[:, None, None, None]
            dice = dice_for(seeds, len(images))
            total = torch.zeros_like(images).unsqueeze(1)
            for _ in range(self.samples):
                noise = sigma * dice.normal(tuple(images.shape[1:])).to(images)
                total = total + pixel_gradients(classifier, images + noise, targets, often=True)
            return total.sum(dim=2) / self.samples

        return explain

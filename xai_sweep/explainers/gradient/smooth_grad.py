"""SmoothGrad."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.seeds import streams_for
from xai_sweep.explainers.base import Explained, Explainer, pixel_gradients
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class SmoothGrad(Explainer):
    """The gradient averaged over copies of the image with Gaussian noise.

    Source: Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise", section 3.

    Attributes:
        samples: noisy copies per image.
        noise: standard deviation of the noise, as a share of the image's range (largest minus
            smallest value) in normalised space; the paper recommends 0.1 to 0.2.
    """

    samples: Annotated[int, Ge(1)] = 50
    noise: Annotated[float, Gt(0)] = 0.15

    is_deterministic: ClassVar[bool] = False
    source: ClassVar[str] = "Smilkov et al. 2017, arXiv:1706.03825"

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
        low, high = images.detach().flatten(1).aminmax(dim=1)
        sigma = self.noise * (high - low)[:, None, None, None]
        streams = streams_for(seeds, len(images))
        total = torch.zeros_like(images).unsqueeze(1)
        for _ in range(self.samples):
            noise = sigma * streams.normal(tuple(images.shape[1:])).to(images)
            total = total + pixel_gradients(classifier, images + noise, targets, often=True)
        return Explained(total.sum(dim=2) / self.samples)

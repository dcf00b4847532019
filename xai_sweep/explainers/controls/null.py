"""Null explainers: heatmaps that know nothing of the network. A good method is better than they."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.core.seeds import dice_for
from xai_sweep.explainers.base import Explain, Explainer
from xai_sweep.models.classifier import Classifier


class Control(Explainer):
    """What all null explainers have in common: a map that is the same for all targets."""

    is_class_sensitive: ClassVar[bool] = False
    is_control: ClassVar[bool] = True
    source: ClassVar[str] = "Adebayo et al. 2018, arXiv:1810.03292"

    @abstractmethod
    def maps(
        self,
        images: Float[Tensor, "b c h w"],
        seeds: Int64[Tensor, " b"] | None,
        classifier: Classifier,
    ) -> Float[Tensor, "b h w"]:
        """A map of each image; of the classifier nothing counts but how it sees pixels."""

    def cost_in_forwards(self, targets: int = 1) -> float:
        """See `Explainer.cost_in_forwards`; the network is never asked."""
        return 0.0

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            maps = self.maps(images.detach(), seeds, classifier)
            return maps[:, None].repeat(1, targets.shape[1], 1, 1)

        return explain


@dataclass(frozen=True)
class Random(Control):
    """Standard normal noise that depends on the seed alone, not on image or target.

    An image and its changed copies have the same seed and so the same map: perfectly stable under
    noise, which says nothing for a map. Without seeds every image takes seed 0.
    """

    is_deterministic: ClassVar[bool] = False

    def maps(
        self,
        images: Float[Tensor, "b c h w"],
        seeds: Int64[Tensor, " b"] | None,
        classifier: Classifier,
    ) -> Float[Tensor, "b h w"]:
        """See `Control.maps`."""
        noise = dice_for(seeds, len(images)).normal((images.shape[-2], images.shape[-1]))
        return noise.to(images)


@dataclass(frozen=True)
class Sobel(Control):
    """Strength of the edges in the image: the Sobel operator on the mean of its channels.

    In pixel units, borders continued, scaled as in scikit-image.
    """

    is_signed: ClassVar[bool] = False

    def maps(
        self,
        images: Float[Tensor, "b c h w"],
        seeds: Int64[Tensor, " b"] | None,
        classifier: Classifier,
    ) -> Float[Tensor, "b h w"]:
        """See `Control.maps`."""
        grey = classifier.normalisation.to_pixels(images).mean(dim=1, keepdim=True)
        smooth = torch.tensor([1, 2, 1]).to(images) / 4
        slope = torch.tensor([1, 0, -1]).to(images)
        kernels = torch.stack([torch.outer(slope, smooth), torch.outer(smooth, slope)])
        slopes = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels[:, None])
        return (slopes**2).mean(dim=1).sqrt()


@dataclass(frozen=True)
class Constant(Control):
    """The same everywhere: nothing is as stable, and nothing says less."""

    is_signed: ClassVar[bool] = False

    def maps(
        self,
        images: Float[Tensor, "b c h w"],
        seeds: Int64[Tensor, " b"] | None,
        classifier: Classifier,
    ) -> Float[Tensor, "b h w"]:
        """See `Control.maps`."""
        return torch.ones_like(images[:, 0])

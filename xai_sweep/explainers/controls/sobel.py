"""Null explainer: an edge detector."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.controls.base import Control
from xai_sweep.models.classifier import Normalisation


@dataclass(frozen=True)
class Sobel(Control):
    """Strength of the edges in the image: the Sobel operator on the mean of its channels.

    In pixel units, with replicated borders and scaled as in scikit-image.
    """

    is_signed: ClassVar[bool] = False

    @override
    def maps(
        self,
        images: Float[Tensor, "b c h w"],
        seeds: Int64[Tensor, " b"] | None,
        space: Normalisation,
    ) -> Float[Tensor, "b h w"]:
        grey = space.to_pixels(images).mean(dim=1, keepdim=True)
        smooth = torch.tensor([1, 2, 1]).to(images) / 4
        slope = torch.tensor([1, 0, -1]).to(images)
        kernels = torch.stack([torch.outer(slope, smooth), torch.outer(smooth, slope)])
        slopes = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels[:, None])
        return (slopes**2).mean(dim=1).sqrt()

"""Brightness: every pixel is raised or lowered by the same amount."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Float64, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.models.classifier import Normalisation
from xai_sweep.transforms.base import Parameter, Photometric
from xai_sweep.transforms.photometric.clipping import clipped


@dataclass(frozen=True)
class Brightness(Photometric):
    """Adds a constant to every pixel and channel, in units of pixels in [0, 1].

    Attributes:
        clip: keep pixels in [0, 1], as a camera would.
    """

    clip: bool = True

    parameter: ClassVar[Parameter] = Parameter("shift", "pixel value")

    @override
    def pixels(
        self,
        images: Float[Tensor, "b c h w"],
        magnitudes: Float64[Tensor, " b"],
        seeds: Int64[Tensor, " b"],
        space: Normalisation,
    ) -> Float[Tensor, "b c h w"]:
        shifts = magnitudes.to(images)[:, None, None, None]
        brighter = images + shifts / images.new_tensor(space.std)[:, None, None]
        return clipped(brighter, space) if self.clip else brighter

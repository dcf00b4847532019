"""Additive white Gaussian noise."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float, Float64, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.seeds import standard_normal
from xai_sweep.models.classifier import Normalisation
from xai_sweep.transforms.base import Parameter, Photometric
from xai_sweep.transforms.photometric.clipping import clipped


@dataclass(frozen=True)
class GaussianNoise(Photometric):
    """Independent noise of standard deviation sigma on every pixel and channel.

    Attributes:
        space: ``normalised``, as in the thesis: sigma in units of the model's input; ``pixel``:
            sigma in units of pixels in [0, 1].
        clip: keep pixels in [0, 1], as a camera would.
    """

    space: Literal["normalised", "pixel"] = "normalised"
    clip: bool = False

    parameter: ClassVar[Parameter] = Parameter("sigma", "standard deviation", minimum=0)
    is_random: ClassVar[bool] = True

    @override
    def pixels(
        self,
        images: Float[Tensor, "b c h w"],
        magnitudes: Float64[Tensor, " b"],
        seeds: Int64[Tensor, " b"],
        space: Normalisation,
    ) -> Float[Tensor, "b c h w"]:
        noise = standard_normal(seeds, tuple(images.shape[1:])).to(images)
        noise *= magnitudes.to(images)[:, None, None, None]
        if self.space == "pixel":
            noise /= noise.new_tensor(space.std)[:, None, None]
        noisy = images + noise
        return clipped(noisy, space) if self.clip else noisy

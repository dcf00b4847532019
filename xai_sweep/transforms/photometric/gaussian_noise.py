"""Additive white Gaussian noise."""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import standard_normal
from xai_sweep.models.classifier import Normalisation
from xai_sweep.transforms.base import Photometric, as_magnitudes

SPACES = ("normalised", "pixel")


@dataclass(frozen=True)
class GaussianNoise(Photometric):
    """Independent noise of standard deviation sigma on every pixel and channel.

    Attributes:
        sigma: a number or a list of numbers, at least 0.
        space: ``normalised``, as in the thesis: sigma in units of the model's input; ``pixel``:
            sigma in units of pixels in [0, 1].
        clip: keep pixels in [0, 1], as a camera would.
    """

    sigma: Any
    space: str = "normalised"
    clip: Any = False

    parameter: ClassVar[str] = "sigma"
    unit: ClassVar[str] = "standard deviation"

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "sigma", as_magnitudes("sigma", self.sigma, "standard deviation", minimum=0.0)
        )
        if self.space not in SPACES:
            raise InputError("transform.space", self.space, f"must be one of {', '.join(SPACES)}")
        if not isinstance(self.clip, bool):
            raise InputError("transform.clip", self.clip, "must be true or false")

    @property
    def magnitudes(self) -> tuple[float, ...]:
        """See `Transform.magnitudes`."""
        return tuple(self.sigma)

    def apply(
        self,
        images: Float[Tensor, "b c h w"],
        magnitudes: Float[Tensor, " b"],
        seeds: Int64[Tensor, " b"],
        space: Normalisation,
    ) -> Float[Tensor, "b c h w"]:
        """See `Transform.apply`."""
        noise = standard_normal(seeds, tuple(images.shape[1:])).to(images)
        noise *= magnitudes.to(images)[:, None, None, None]
        if self.space == "pixel":
            noise /= noise.new_tensor(space.std)[:, None, None]
        noisy = images + noise
        if self.clip:
            # Clipped in normalised space, so that what is within bounds keeps its last digit.
            black = noise.new_zeros(len(space.mean), 1, 1)
            noisy = noisy.clamp(space.to_normalised(black), space.to_normalised(black + 1))
        return noisy

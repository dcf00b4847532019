"""No change at all: every distance must come out as zero."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.models.classifier import Normalisation
from xai_sweep.transforms.base import Photometric


@dataclass(frozen=True)
class Identity(Photometric):
    """The image as it is; its only magnitude is 0."""

    parameter: ClassVar[str] = "none"
    unit: ClassVar[str] = "1"

    @property
    def magnitudes(self) -> tuple[float, ...]:
        """See `Transform.magnitudes`."""
        return (0.0,)

    def apply(
        self,
        images: Float[Tensor, "b c h w"],
        magnitudes: Float[Tensor, " b"],
        seeds: Int64[Tensor, " b"],
        space: Normalisation,
    ) -> Float[Tensor, "b c h w"]:
        """See `Transform.apply`."""
        return images

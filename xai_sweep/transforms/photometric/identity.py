"""No change at all: every distance must come out as zero."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Float64, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.models.classifier import Normalisation
from xai_sweep.transforms.base import Parameter, Photometric


@dataclass(frozen=True)
class Identity(Photometric):
    """The image as it is; its only magnitude is 0."""

    parameter: ClassVar[Parameter] = Parameter("none", "1", minimum=0, maximum=0)

    @override
    def pixels(
        self,
        images: Float[Tensor, "b c h w"],
        magnitudes: Float64[Tensor, " b"],
        seeds: Int64[Tensor, " b"],
        space: Normalisation,
    ) -> Float[Tensor, "b c h w"]:
        return images

"""Null explainer: noise."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.seeds import streams_for
from xai_sweep.explainers.controls.base import Control
from xai_sweep.models.classifier import Normalisation


@dataclass(frozen=True)
class Random(Control):
    """Standard normal noise that depends on the seed alone, not on image, network or target.

    An image and its changed copies have the same seed and so the same map, which makes it perfectly
    stable under noise: stability alone is no merit.
    """

    is_deterministic: ClassVar[bool] = False

    @override
    def maps(
        self,
        images: Float[Tensor, "b c h w"],
        seeds: Int64[Tensor, " b"] | None,
        space: Normalisation,
    ) -> Float[Tensor, "b h w"]:
        noise = streams_for(seeds, len(images)).normal((images.shape[-2], images.shape[-1]))
        return noise.to(images)

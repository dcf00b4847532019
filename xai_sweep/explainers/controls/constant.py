"""Null explainer: a constant."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.controls.base import Control
from xai_sweep.models.classifier import Normalisation


@dataclass(frozen=True)
class Constant(Control):
    """1 at every pixel: perfectly stable, and perfectly uninformative."""

    is_signed: ClassVar[bool] = False

    @override
    def maps(
        self,
        images: Float[Tensor, "b c h w"],
        seeds: Int64[Tensor, " b"] | None,
        space: Normalisation,
    ) -> Float[Tensor, "b h w"]:
        return torch.ones_like(images[:, 0])

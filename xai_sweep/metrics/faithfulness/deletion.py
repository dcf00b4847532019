"""Deletion: how soon the probability falls when the most relevant pixels go first."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.faithfulness.pixels_in_order import PixelsInOrder


@dataclass(frozen=True)
class Deletion(PixelsInOrder):
    """Area under the probability while pixels are removed from the image, most relevant first.

    See `PixelsInOrder`. Removed pixels show the mean colour, as in the authors' code.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "deletion",
            "Area under the probability of the explained class while pixels are removed from the "
            "image, most relevant first, over the fraction of removed pixels.",
            better="lower",
            null="the heatmap is constant or not finite",
            source="Petsiuk, Das, Saenko, BMVC 2018, arXiv:1806.07421, section 4.2",
        ),
    )

    @override
    def ends(
        self, present: Float[Tensor, "b c h w"], absent: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        return present, absent

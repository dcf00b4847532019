"""Insertion: how soon the probability rises when the most relevant pixels come first."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.faithfulness.pixels_in_order import Baseline, PixelsInOrder


@dataclass(frozen=True)
class Insertion(PixelsInOrder):
    """Area under the probability while pixels are brought into the baseline, most relevant first.

    See `PixelsInOrder`. The curve begins at the blurred image, as in the authors' code.
    """

    baseline: Baseline = "blur"

    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "insertion",
            "Area under the probability of the explained class while pixels of the image are "
            "brought into its baseline, most relevant first, over the fraction of these pixels.",
            better="higher",
            null="the heatmap is constant or not finite",
            source="Petsiuk, Das, Saenko, BMVC 2018, arXiv:1806.07421, section 4.2",
        ),
    )

    @override
    def ends(
        self, present: Float[Tensor, "b c h w"], absent: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        return absent, present

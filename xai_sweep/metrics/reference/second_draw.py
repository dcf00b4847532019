"""What another seed changes."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from xai_sweep.metrics.base import Need
from xai_sweep.metrics.reference.against_itself import AgainstItself
from xai_sweep.study.view import View


@dataclass(frozen=True)
class SecondDraw(AgainstItself):
    """Two reference heatmaps of one image, drawn with different seeds, over the whole frame.

    A method that draws nothing gives the same heatmap again. No floor of the distance: the
    comparison gives both images the same seed, and looks at the pixels of its region only.
    """

    name: ClassVar[str] = "second_draw"
    description: ClassVar[str] = (
        "Distance of two heatmaps of the clean image that a method draws with different seeds, "
        "over all pixels. Not a floor: clean image and counterpart are explained with one seed."
    )
    needs: ClassVar[frozenset[Need]] = frozenset({Need.SECOND_DRAW})

    @override
    def again(self, view: View) -> Float[Tensor, "b k h w"]:
        return view.reference if view.second is None else view.second

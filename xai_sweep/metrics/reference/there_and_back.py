"""What moving a heatmap costs: there and back again."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.metrics.base import Need
from xai_sweep.metrics.pairs import Pairs
from xai_sweep.metrics.reference.against_itself import AgainstItself
from xai_sweep.study.view import View
from xai_sweep.transforms.base import Transform
from xai_sweep.transforms.motion import Still
from xai_sweep.transforms.region import there_and_back_region


@dataclass(frozen=True)
class ThereAndBack(AgainstItself):
    """The reference heatmap, moved along with the image and moved back, against itself.

    Over the pixels that come home without fill, whatever the region of the other metrics. A motion
    that leaves pixels in place compares the heatmap with itself.

    It shows how much the heatmap suffers from interpolation, and is no floor of the distance: it
    interpolates twice where the comparison interpolates once, so it overstates that error by a
    factor of 1.35 to 2, and a perfectly equivariant method lies below it.
    """

    name: ClassVar[str] = "there_and_back"
    description: ClassVar[str] = (
        "Distance of the reference heatmap, moved along with the image and moved back, to itself: "
        "what interpolation does to it, twice. Not a floor: the comparison interpolates once, and "
        "its distance can be smaller."
    )
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PAIR, Need.MOTION})

    @override
    def __call__(self, view: View) -> Mapping[str, Float64[Tensor, "b k"]]:
        if isinstance(view.motion, Still):
            return {self.columns[0].name: view.shared(self.of_cases)}
        back = view.motion.move_back(view.moved)
        found = self.distance.between(Pairs(back, view.reference, _home(view)[:, None]))
        return {self.columns[0].name: found}

    @override
    def again(self, view: View) -> Float[Tensor, "b k h w"]:
        return view.reference


def _home(view: View) -> Bool[Tensor, "b h w"]:
    """The pixels that come home unfilled."""
    ones = torch.ones_like(view.reference[:, :1])
    if view.transform.is_random:
        return there_and_back_region(view.motion, ones)
    size, device = (ones.shape[-2], ones.shape[-1]), ones.device
    magnitudes = view.magnitudes.tolist()
    return torch.stack([_home_of(view.transform, each, size, device) for each in magnitudes])


@lru_cache(maxsize=256)
def _home_of(
    transform: Transform, magnitude: float, size: tuple[int, int], device: torch.device
) -> Bool[Tensor, "h w"]:
    """The same for one magnitude; all images move alike, so it is made once."""
    motion = transform.motion(torch.tensor([magnitude], dtype=torch.float64, device=device), size)
    return there_and_back_region(motion, torch.ones(1, 1, *size, device=device))[0]

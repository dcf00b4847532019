"""What moving a heatmap costs: there and back again."""

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
    def compared(self, view: View) -> Float64[Tensor, "b k"]:
        if isinstance(view.motion, Still):
            return self.each_case_once(view, view.reference)
        back, home = view.shared(_back), view.shared(_home)[:, None]
        # A CPU is faster with a few maps at a time, which stay in its cache.
        at_once = 1 if back.device.type == "cpu" else len(back)
        sides = (torch.split(maps, at_once) for maps in (back, view.reference, home))
        parts = zip(*sides, strict=True)
        return torch.cat([self.distance.between(Pairs(*part)) for part in parts])


def _back(view: View) -> Float[Tensor, "b k h w"]:
    return view.motion.move_back(view.moved)


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

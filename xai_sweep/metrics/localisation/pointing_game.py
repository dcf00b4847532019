"""The pointing game: whether the largest relevance lies on the object."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Bool, Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Metric, Need
from xai_sweep.study.case import Case
from xai_sweep.study.view import View


@dataclass(frozen=True)
class PointingGame(Metric):
    """1 if the pixel of largest positive relevance lies on the object, 0 if it does not.

    The object is the annotation's mask, moved along with the image. Only pixels of the region
    count, for relevance and object alike. If several pixels share the largest relevance, the value
    is the share of them that lie on the object.

    Undefined where there is nothing to hit or to miss: an image without annotation, no pixel of the
    object in the region or none beside it, and a heatmap that is constant, nowhere positive, or not
    finite. All K classes are held against the one object.

    Attributes:
        tolerance: a pixel at most so far from the object hits too, in pixels between centres. The
            authors allow 15.
    """

    tolerance: Annotated[float, Ge(0)] = 0.0

    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "pointing_game",
            "Whether the largest positive relevance lies on the object: 1 or 0; of several equal "
            "maxima, the share on the object.",
            better="higher",
            null="no annotation, no object or nothing but object in the region, or a heatmap that "
            "is constant, nowhere positive or not finite",
            source="Zhang, Lin, Brandt, Shen, Sclaroff, ECCV 2016, section 4.2",
        ),
    )
    needs: ClassVar[frozenset[Need]] = frozenset({Need.ANNOTATION, Need.MOTION})

    @override
    def __call__(self, view: View) -> Mapping[str, Float64[Tensor, "b k"]]:
        region = view.region[:, None]
        heatmaps = view.explained.heatmaps
        inside = torch.where(region, heatmaps, -torch.inf)
        highest = inside.amax((-2, -1), keepdim=True)
        lowest = torch.where(region, heatmaps, torch.inf).amin((-2, -1), keepdim=True)
        maxima = (inside == highest) & region
        target = self._target(view)[:, None]

        hits = (maxima & target).sum((-2, -1)) / maxima.sum((-2, -1)).double()
        is_defined = (highest > 0) & (highest > lowest) & highest.isfinite() & lowest.isfinite()
        is_defined = is_defined[..., 0, 0] & target.any(-1).any(-1)
        is_defined &= (region & ~target).any(-1).any(-1)
        return {"pointing_game": torch.where(is_defined, hits, torch.nan)}

    def _target(self, view: View) -> Bool[Tensor, "b h w"]:
        """Pixels of the region that hit; none where the object is unknown or out of the region."""
        known = torch.stack([_mask(case) for case in view.cases])
        moved = (view.motion.move_labels(known.long()) == 1) & view.region
        if self.tolerance == 0:
            return moved
        near = torch.stack([within(mask, self.tolerance) for mask in moved])
        return near & view.region


def _mask(case: Case) -> Bool[Tensor, "h w"]:
    if case.annotation is None:
        return torch.zeros_like(case.image[0], dtype=torch.bool)
    return case.annotation.mask


def within(mask: Bool[Tensor, "h w"], distance: float) -> Bool[Tensor, "h w"]:
    """The pixels whose centres are at most so far from the centre of one in the mask."""
    reach = int(distance)
    near = mask.clone()
    height, width = mask.shape
    for down in range(-min(reach, height - 1), min(reach, height - 1) + 1):
        for right in range(-min(reach, width - 1), min(reach, width - 1) + 1):
            if down**2 + right**2 <= distance**2:
                to = near[
                    max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)
                ]
                to |= mask[
                    max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
                ]
    return near

"""The contract of methods that explain segments of an image instead of its pixels."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int64, Num
from torch import Tensor

from xai_sweep.explainers.base import Explain


@runtime_checkable
class Segmented(Explain, Protocol):
    """A bound explainer whose segments can be given to it."""

    def segments(self, images: Float[Tensor, "b c h w"]) -> Int64[Tensor, "b h w"] | None:
        """What changed copies of these images should be explained with, moved along with them.

        Returns:
            The segment of each pixel, from 0; None if every copy finds segments of its own.
        """
        ...

    def accounted(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        segments: Int64[Tensor, "b h w"] | None = None,
    ) -> tuple[Float[Tensor, "b k h w"], Mapping[str, Num[Tensor, "b k"]]]:
        """As `Accounted.accounted`.

        Args:
            images: ``[B, C, H, W]`` in normalised space.
            targets: class indices ``int64[B, K]``.
            seeds: one per image.
            segments: of each pixel; -1 where it came from outside of the image. None to find them.
        """
        ...

    def notes(self, images: Float[Tensor, "b c h w"]) -> Mapping[str, Any]:
        """As `Accounted.notes`."""
        ...

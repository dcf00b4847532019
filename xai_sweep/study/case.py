"""A clean image as its subject sees it: made once, compared with every counterpart of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from xai_sweep.core.seeds import derive
from xai_sweep.data.base import ImageFile


@dataclass(frozen=True, eq=False)
class Annotation:
    """Where the object is, in the frame that the network sees.

    Attributes:
        mask: ``bool[H, W]``, true on the object's pixels.
        boxes: ``float64[N, 4]``: left, top, right, bottom, in pixels from the frame's upper left
            corner; the first pixel covers 0 to 1.
    """

    mask: Bool[Tensor, "h w"]
    boxes: Float64[Tensor, "n 4"]


@dataclass(frozen=True, eq=False)
class Case:
    """One clean image: what its subject predicts, and the reference heatmaps.

    Attributes:
        item: the image's name, file, and true label.
        image: ``[C, H, W]`` in normalised space, on the device.
        logits: of every class, ``float64``.
        targets: the K best classes.
        reference: their heatmaps.
        root: the sweep's seed, from which `seed` derives.
        carried: what copies of the image are explained with, see `Explained.carried`.
        second: heatmaps drawn with another seed; None unless a metric needs them.
        annotation: where the object is; None if the data set does not say.
    """

    item: ImageFile
    image: Float[Tensor, "c h w"]
    logits: Float64[Tensor, " classes"]
    targets: Int64[Tensor, " k"]
    reference: Float[Tensor, "k h w"]
    root: int = 0
    carried: Int64[Tensor, "h w"] | None = None
    second: Float[Tensor, "k h w"] | None = None
    annotation: Annotation | None = None

    def seed(self, purpose: str, draw: int = 0) -> int:
        """A seed for one purpose on this image; the first draw has the purpose's own."""
        return seed(self.root, self.item, purpose, draw)


def seed(root: int, item: ImageFile, purpose: str, draw: int = 0) -> int:
    """What `Case.seed` gives, for an image of which there is no case yet."""
    return derive(root, item.image_id, purpose if draw == 0 else f"{purpose}, draw {draw}")


def seeds(cases: Sequence[Case], purpose: str, draw: int = 0) -> Int64[Tensor, " b"]:
    """The seed of each case for one purpose."""
    return torch.tensor([case.seed(purpose, draw) for case in cases], dtype=torch.int64)


def images(cases: Sequence[Case]) -> Float[Tensor, "b c h w"]:
    """The clean images as one batch."""
    return torch.stack([case.image for case in cases])

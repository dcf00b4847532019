"""Images as tensors, one by one and in batches; those that cannot be read as the reason why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from xai_sweep.core.errors import Failure
from xai_sweep.data.base import ImageFile
from xai_sweep.data.reading import UnreadableImage, read_image
from xai_sweep.models import Preprocess

# Resizing the shorter side of a longer image to that of the network could fill the memory.
_LONGEST = 100


@dataclass(frozen=True, eq=False)
class Sample:
    """One image, or why there is none."""

    index: int
    image: Float[Tensor, "c h w"] | None
    error: str | None


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images of a set, in order.

    Attributes:
        files: the images that could be read.
        images: their pixels in normalised space, ``float32[B, C, H, W]``; ``[0, 0, 0, 0]`` if none
            could be read.
        failed: the images that could not, with the reason.
    """

    files: tuple[ImageFile, ...]
    images: Float[Tensor, "b c h w"]
    failed: tuple[tuple[ImageFile, Failure], ...]

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        """The same batch on a device; Lightning calls this."""
        return replace(self, images=self.images.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The same batch in memory that a GPU copies from faster; the loader calls this."""
        return replace(self, images=self.images.pin_memory())


class Images(Dataset[Sample]):
    """Images of a set, preprocessed for a network.

    Args:
        files: which ones.
        preprocess: Pillow image to a normalised tensor. All images must come out in the shape of
            the first that can be read; another shape is an error of that image.
    """

    def __init__(self, files: Sequence[ImageFile], preprocess: Preprocess) -> None:
        self.files = tuple(files)
        self.preprocess = preprocess

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        sample = self._read(index)
        if sample.image is None or sample.image.shape == self._shape:
            return sample
        return Sample(
            index,
            None,
            f"is {tuple(sample.image.shape)} after preprocessing, "
            f"the first image of the set {tuple(self._shape or ())}",
        )

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Samples as one batch."""
        images = [sample.image for sample in samples if sample.image is not None]
        return Batch(
            files=tuple(self.files[each.index] for each in samples if each.image is not None),
            images=torch.stack(images) if images else torch.empty(0, 0, 0, 0),
            failed=tuple(
                (self.files[each.index], Failure(each.error))
                for each in samples
                if each.error is not None
            ),
        )

    @cached_property
    def _shape(self) -> torch.Size | None:
        """Taken from the set and not from a batch, on which no result may depend."""
        images = (self._read(index).image for index in range(len(self)))
        return next((image.shape for image in images if image is not None), None)

    def _read(self, index: int) -> Sample:
        try:
            image = read_image(self.files[index].path)
            return Sample(index, self._tensor(image), None)
        except UnreadableImage as error:
            return Sample(index, None, str(error))
        except Exception as error:  # whatever the user's own preprocessing raises
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            return Sample(index, None, f"preprocessing failed: {reason}")

    def _tensor(self, image: Image.Image) -> Float[Tensor, "c h w"]:
        if max(image.size) > _LONGEST * min(image.size):
            raise ValueError(f"{image.width} x {image.height} pixels are too far from a square")
        tensor = self.preprocess(image)
        if not isinstance(tensor, Tensor) or tensor.ndim != 3:
            raise TypeError("must give a tensor [C, H, W]")
        return tensor.float()

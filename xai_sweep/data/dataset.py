"""Images as tensors, one by one and in batches; those that cannot be read as the reason why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from xai_sweep.core.errors import Failure
from xai_sweep.data.annotation import annotate
from xai_sweep.data.base import Box, ImageFile
from xai_sweep.data.reading import UnreadableImage, read_image, read_stack
from xai_sweep.models import Picture, Preprocess
from xai_sweep.models.preprocessing import takes_photos
from xai_sweep.study.case import Annotation

# Longer side by shorter side. Resizing the shorter side of a longer image to that of the network
# could fill the memory.
_LONGEST = 100


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """One image, or why there is none.

    Attributes:
        index: its number in the set.
        image: its pixels in normalised space; None if it could not be read.
        error: why not.
        annotation: where the objects are; None if the data set does not say.
    """

    index: int
    image: Float[Tensor, "c h w"] | None
    error: str | None
    annotation: Annotation | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images of a set, in order.

    Attributes:
        files: the images that could be read.
        images: their pixels in normalised space, ``float32[B, C, H, W]``; ``[0, 0, 0, 0]`` if none
            could be read.
        failed: the images that could not, with the reason.
        annotations: where the objects of each image in ``files`` are; None for an image of which
            the data set does not say.
    """

    files: tuple[ImageFile, ...]
    images: Float[Tensor, "b c h w"]
    failed: tuple[tuple[ImageFile, Failure], ...]
    annotations: tuple[Annotation | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.annotations:
            object.__setattr__(self, "annotations", (None,) * len(self.files))

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        """The same batch on a device; Lightning calls this."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=non_blocking),
            annotations=tuple(
                each and Annotation(each.mask.to(device), each.boxes.to(device))
                for each in self.annotations
            ),
        )

    def pin_memory(self) -> "Batch":
        """The same batch in memory that a GPU copies from faster; the loader calls this."""
        return replace(self, images=self.images.pin_memory())


class Images(Dataset[LoadedImage]):
    """Images of a set, preprocessed for a network.

    Args:
        files: which ones.
        preprocess: a picture to a normalised tensor. All images must come out in the shape of
            the first that can be read; another shape is an error of that image.
        whole: the set to which the files belong, for that shape; by default the files alone.
        annotated: whether annotations are wanted, of images that have boxes.
        channels: of the network: with one or three it is given photos, otherwise stacks.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        preprocess: Preprocess,
        whole: Sequence[ImageFile] | None = None,
        annotated: bool = False,
        channels: int = 3,
    ) -> None:
        self.files = tuple(files)
        self.preprocess = preprocess
        self.whole = self.files if whole is None else tuple(whole)
        self.annotated = annotated
        self.channels = channels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> LoadedImage:
        image = self._read(self.files[index], self.annotated)
        if isinstance(image, str):
            return LoadedImage(index, None, image)
        pixels, annotation = image
        if pixels.shape == self._shape:
            return LoadedImage(index, pixels, None, annotation)
        error = (
            f"is {tuple(pixels.shape)} after preprocessing, "
            f"the first image of the set {tuple(self._shape or ())}"
        )
        return LoadedImage(index, None, error)

    def collate(self, loaded: Sequence[LoadedImage]) -> Batch:
        """Images as one batch."""
        readable = [each for each in loaded if each.image is not None]
        images = [each.image for each in readable if each.image is not None]
        return Batch(
            files=tuple(self.files[each.index] for each in readable),
            images=torch.stack(images) if images else torch.empty(0, 0, 0, 0),
            failed=tuple(
                (self.files[each.index], Failure(each.error))
                for each in loaded
                if each.error is not None
            ),
            annotations=tuple(each.annotation for each in readable),
        )

    @cached_property
    def _shape(self) -> torch.Size | None:
        """Taken from the set and not from a batch or a share, on which no result may depend."""
        images = (self._read(file) for file in self.whole)
        return next((image[0].shape for image in images if not isinstance(image, str)), None)

    def _read(
        self, file: ImageFile, annotated: bool = False
    ) -> tuple[Float[Tensor, "c h w"], Annotation | None] | str:
        """Pixels and annotation of an image, or why it cannot be used."""
        try:
            picture, size = _picture(file, self.channels)
            pixels = _preprocessed(picture, size, self.preprocess)
            boxes: Sequence[Box] = file.boxes if annotated else ()
            if not boxes:
                return pixels, None
            return pixels, annotate(boxes, size, self.preprocess, self.channels)
        except UnreadableImage as error:
            return str(error)
        except Exception as error:  # whatever the user's own preprocessing raises
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            return f"preprocessing failed: {reason}"


def _picture(file: ImageFile, channels: int) -> tuple[Picture, tuple[int, int]]:
    """What a network of so many channels is given of an image, and its width and height."""
    if takes_photos(channels):
        photo = read_image(file.path, file.frame, file.black, file.white)
        return photo, photo.size
    stack = read_stack(file.path, channels, file.frame, file.black, file.white)
    return torch.from_numpy(stack), (stack.shape[2], stack.shape[1])


def _preprocessed(
    picture: Picture, size: tuple[int, int], preprocess: Preprocess
) -> Float[Tensor, "c h w"]:
    if max(size) > _LONGEST * min(size):
        raise ValueError(f"{size[0]} x {size[1]} pixels are too far from a square")
    tensor = preprocess(picture)
    if not isinstance(tensor, Tensor) or tensor.ndim != 3:
        raise TypeError("must give a tensor [C, H, W]")
    return tensor.float()

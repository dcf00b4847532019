"""Superpixels of images, by scikit-image with the settings of the `lime` package."""

import hashlib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb, quickshift, slic
from torch import Tensor

from xai_sweep.core.errors import InputError, unknown_key

Segmentation: TypeAlias = Literal["quickshift", "slic", "felzenszwalb", "grid"]
# Those that take a number of superpixels.
CountedSegmentation: TypeAlias = Literal["slic", "grid"]


def grid(image: NDArray[np.float64], rows: int = 8, columns: int = 8) -> NDArray[np.int64]:
    """Equal rectangles, numbered row by row."""
    height, width = image.shape[:2]
    down, along = np.arange(height) * rows // height, np.arange(width) * columns // width
    return np.asarray(down[:, None] * columns + along[None, :], dtype=np.int64)


_FINDERS: Mapping[str, Callable[..., Any]] = {
    "quickshift": quickshift,
    "slic": slic,
    "felzenszwalb": felzenszwalb,
    "grid": grid,
}

# The defaults of the `lime` package. It also passes a random seed under a name that scikit-image
# no longer knows since 0.21, and then drops it, so that the seed is always scikit-image's 42.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "quickshift": {"kernel_size": 4, "max_dist": 200, "ratio": 0.2, "rng": 42}
}
# Photos have 8 bits. Normalising and undoing it leaves an error of 1e-5 levels or less.
_LEVELS, _NEAR = 255, 1e-3
_KEPT = 128


def check_options(segmentation: Segmentation, options: Any) -> None:
    """Refuse parameters that a segmentation does not have.

    Raises:
        InputError: naming the key.
    """
    if options is None:
        return
    if not isinstance(options, Mapping):
        allowed = "must be null or parameters of the segmentation, e.g. {max_dist: 100}"
        raise InputError("explainer.options", options, allowed)
    known = list(inspect.signature(_FINDERS[segmentation]).parameters)[1:]
    for name, value in options.items():
        if name not in known:
            raise unknown_key(f"explainer.options.{name}", value, known)


def options_for(segmentation: CountedSegmentation, count: int) -> dict[str, int]:
    """Options for about so many superpixels.

    A grid has as many rows as columns, and so the largest square number that is not above the
    count; slic decides for itself how many it finds.
    """
    side = int(count**0.5)
    return {"n_segments": count} if segmentation == "slic" else {"rows": side, "columns": side}


def as_photo(pixels: Float[Tensor, "c h w"]) -> Float64[np.ndarray, "h w colours"]:
    """An image as a user of the package has it: colours in [0, 1], double precision.

    Values within a thousandth of an 8-bit level become that level, so that an image has the same
    superpixels as the file that it was read from, on any device. An image of another number of
    channels than three is the mean of its channels, because superpixels are sought in photos.
    """
    exact = pixels.detach().double().cpu()
    levels = (exact * _LEVELS).round()
    snapped = torch.where((exact * _LEVELS - levels).abs() < _NEAR, levels / _LEVELS, exact)
    if len(snapped) != 3:
        snapped = snapped.mean(dim=0, keepdim=True).expand(3, -1, -1)
    return np.ascontiguousarray(snapped.permute(1, 2, 0).numpy())


class SuperpixelFinder:
    """Labels every pixel with its superpixel, numbered from 0 without gaps.

    It remembers the superpixels of the last images, because the same image is often explained
    again, with another seed for example.

    Args:
        segmentation: the algorithm.
        options: parameters that differ from the package's defaults.
    """

    def __init__(
        self, segmentation: Segmentation, options: Mapping[str, Any] | None = None
    ) -> None:
        self.segmentation = segmentation
        self.options = {**_DEFAULTS.get(segmentation, {}), **(options or {})}
        self._found: OrderedDict[bytes, Int64[np.ndarray, "h w"]] = OrderedDict()

    def of_photo(self, photo: Float64[np.ndarray, "h w c"]) -> Int64[np.ndarray, "h w"]:
        """The superpixels of one image, see `as_photo`."""
        key = hashlib.blake2b(repr(photo.shape).encode() + photo.tobytes()).digest()
        # Removed, and inserted again at the end; other threads do the same meanwhile.
        found = self._found.pop(key, None)
        if found is None:
            labels = _FINDERS[self.segmentation](photo, **self.options)
            # slic counts from 1, and constant images have gaps.
            _, numbered = np.unique(labels, return_inverse=True)
            found = numbered.reshape(labels.shape).astype(np.int64)
        self._found[key] = found
        if len(self._found) > _KEPT:
            self._found.popitem(last=False)
        return found

    def __call__(self, pixels: Float[Tensor, "b c h w"]) -> Int64[Tensor, "b h w"]:
        """The superpixels of images in [0, 1], in pixel space, on the images' device."""
        photos = [as_photo(image) for image in pixels]
        # scikit-image lets other threads compute meanwhile.
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            found = [*threads.map(self.of_photo, photos)]
        return torch.from_numpy(np.stack(found)).to(pixels.device)


def with_outside(labels: Int64[Tensor, "b h w"]) -> Int64[Tensor, "b h w"]:
    """Labels that were moved, with the pixels that have no source (-1) as one more superpixel.

    It is the last one, so that the others keep their numbers, and with these their masks, even
    where some of them have left the frame.
    """
    last = labels.amax(dim=(1, 2), keepdim=True) + 1
    return torch.where(labels < 0, last, labels)

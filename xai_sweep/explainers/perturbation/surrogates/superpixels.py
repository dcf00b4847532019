"""Superpixels of images, by scikit-image with the settings of the `lime` package."""

import hashlib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb, quickshift, slic
from torch import Tensor

from xai_sweep.core.errors import InputError, unknown_key


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
SEGMENTATIONS = tuple(_FINDERS)

# What the `lime` package asks for unless told otherwise. It also passes a random seed, which
# scikit-image calls `rng` since 0.21, so that the package drops it and the seed is always 42.
_USUAL: Mapping[str, Mapping[str, Any]] = {
    "quickshift": {"kernel_size": 4, "max_dist": 200, "ratio": 0.2, "rng": 42}
}
# Photos have 8 bits. Normalising and back leaves an error of 1e-5 levels or less.
_LEVELS, _NEAR = 255, 1e-3
_KEPT = 128


def check_options(segmentation: str, options: Any) -> None:
    """Refuse a segmentation that is not there, and parameters that it does not have.

    Raises:
        InputError: naming the key.
    """
    if segmentation not in _FINDERS:
        allowed = f"must be one of {', '.join(SEGMENTATIONS)}"
        raise InputError("explainer.segmentation", segmentation, allowed)
    if options is None:
        return
    if not isinstance(options, Mapping):
        allowed = "must be null or parameters of the segmentation, e.g. {max_dist: 100}"
        raise InputError("explainer.options", options, allowed)
    known = list(inspect.signature(_FINDERS[segmentation]).parameters)[1:]
    for name, value in options.items():
        if name not in known:
            raise unknown_key(f"explainer.options.{name}", value, known)


def as_photo(pixels: Float[Tensor, "c h w"]) -> Float64[np.ndarray, "h w c"]:
    """An image as the package's user would hand it over: colours in [0, 1], double precision.

    Values within a thousandth of an 8-bit level are that level, so an image that was read from a
    file has the same superpixels as its file, on any device. Grey images get three channels.
    """
    exact = pixels.detach().double().cpu()
    levels = (exact * _LEVELS).round()
    snapped = torch.where((exact * _LEVELS - levels).abs() < _NEAR, levels / _LEVELS, exact)
    if len(snapped) == 1:
        snapped = snapped.expand(3, -1, -1)
    return np.ascontiguousarray(snapped.permute(1, 2, 0).numpy())


class SuperpixelFinder:
    """Labels every pixel with its superpixel, numbered from 0 without gaps.

    What was found is remembered for the last images, because the same image is explained again
    with a second seed.

    Args:
        segmentation: one of `SEGMENTATIONS`.
        options: parameters of it that differ from the package's.
    """

    def __init__(self, segmentation: str, options: Mapping[str, Any] | None = None) -> None:
        self.segmentation = segmentation
        self.options = {**_USUAL.get(segmentation, {}), **(options or {})}
        self._found: OrderedDict[bytes, Int64[np.ndarray, "h w"]] = OrderedDict()

    def of_photo(self, photo: Float64[np.ndarray, "h w c"]) -> Int64[np.ndarray, "h w"]:
        """The superpixels of one image, see `as_photo`."""
        key = hashlib.blake2b(repr(photo.shape).encode() + photo.tobytes()).digest()
        # Taken out and put back last; other threads do the same meanwhile.
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
        """The superpixels of images in [0, 1], on the images' device."""
        photos = [as_photo(image) for image in pixels]
        # scikit-image lets other threads compute meanwhile.
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            found = [*threads.map(self.of_photo, photos)]
        return torch.from_numpy(np.stack(found)).to(pixels.device)


def moved_labels(labels: Int64[Tensor, "b h w"]) -> Int64[Tensor, "b h w"]:
    """Labels that were moved: what came from outside (-1) is a superpixel of its own, the last.

    The others keep their numbers, and with them their masks, also if some have left the frame.
    """
    last = labels.amax(dim=(1, 2), keepdim=True) + 1
    return torch.where(labels < 0, last, labels)

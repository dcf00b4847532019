"""One white for all images of a set that have 16 bits, of which a camera often fills fewer."""

import logging
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from xai_sweep.data.arrays import depth_of, from_numpy
from xai_sweep.data.base import ImageFile
from xai_sweep.data.formats import SCALED, format_of
from xai_sweep.data.png import all_bits, has_16_bits
from xai_sweep.data.tiff import is_for_tifffile, page_of

log = logging.getLogger(__name__)

# Whose pixels never have more than 8 bits here, or which say themselves what is white.
_SETTLED = {"JPEG", "GIF", "WEBP", "AVIF", "HEIC", "DICOM", "JPEG2000"}


def with_common_white(files: Sequence[ImageFile]) -> tuple[ImageFile, ...]:
    """The same images; those of 16 bits with one white level, unless they have one.

    It is that of the smallest usual depth which holds all of them, so that none of them is brighter
    than it was beside the others. A depth below 16 is said, because nothing proves it. This reads
    the images of 16 bits, and of other files a few bytes.
    """
    asked = [file for file in files if file.white is None]
    # Of odd metadata. Around all threads, which share the filters.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor() as threads:
        largest = dict(zip(asked, threads.map(_largest, asked), strict=True))
    values = [value for value in largest.values() if value is not None]
    if not values:
        return tuple(files)
    depth = depth_of(max(values))
    white = 2**depth - 1
    if depth < 16:
        log.warning(
            "the images of 16 bits hold no value above %d and are read as %d bits; data.white=%d "
            "says so, data.white=65535 reads them as they are",
            *(max(values), depth, white),
        )
    return tuple(
        replace(file, white=float(white)) if _is_to_be_told(largest.get(file), depth) else file
        for file in files
    )


def _is_to_be_told(largest: int | None, depth: int) -> bool:
    # Images that fill 16 bits are read so anyway, and keep their fingerprint.
    return largest is not None and (depth < 16 or depth_of(largest) < 16)


def _largest(file: ImageFile) -> int | None:
    """The largest value of an image of 16 bits; None if it is another, or cannot be read."""
    try:
        values = _whole_numbers(file.path, file.frame) if file.path.is_file() else None
    except Exception:  # the packages that read raise anything; the image's rows will say
        return None
    if values is None or values.dtype.kind not in "ui" or values.dtype.itemsize == 1:
        return None
    least, most = int(values.min()), int(values.max())
    return most if least >= 0 and most < 2**16 else None


def _whole_numbers(path: Path, frame: int) -> np.ndarray | None:
    name = format_of(path)
    if name in _SETTLED or (name == "PNG" and not has_16_bits(path)):
        return None
    if name in ("NPY", "NPZ"):
        return from_numpy(path, frame)
    if name == "TIFF" and is_for_tifffile(path, frame):
        return page_of(path, frame)
    with Image.open(path) as image:
        if image.mode.startswith("I") and image.format not in SCALED:
            image.seek(frame)
            return np.asarray(image)
        if name != "PNG":
            return None
    pixels = all_bits(path)
    return pixels if pixels.shape[-1] in (1, 3) else pixels[..., :-1]

"""TIFF files that Pillow does not read, or not with all their bits: more than 8 bits, or bands."""

import logging
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError

from xai_sweep.data.arrays import check_bytes, layers, over_white, unit
from xai_sweep.data.metadata import turned

_BITS, _ORIENTATION = 258, 274

# It logs what is odd about a file; the pixels either can be read or raise.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)


def is_for_tifffile(path: Path, frame: int = 0) -> bool:
    """Whether Pillow would not know the file, or drop bits of its colours."""
    try:
        with Image.open(path) as image:
            image.seek(frame)
            bits = vars(image)["tag_v2"].get(_BITS, (1,))
            return image.mode in ("RGB", "RGBA") and max(bits) > 8
    except UnidentifiedImageError:
        return True


def read_tiff(
    path: Path,
    channels: int | None,
    frame: int = 0,
    black: float | None = None,
    white: float | None = None,
) -> Float[np.ndarray, "h w c"]:
    """A page as a photo or a stack, values from 0 to 1, upright.

    A stack is a page with that many channels, or a file with one page for each.

    Args:
        path: the file.
        channels: how many it must have; None for a photo, which has one or three.
        frame: which page, from 0.
        black: see `unit`.
        white: see `unit`.

    Raises:
        ValueError: it has another shape, or its values cannot be understood.
        Exception: whatever tifffile raises on damaged files, or without imagecodecs.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages[frame].aspage()
        check_bytes(page.nbytes * (channels or 1))
        is_page_a_band = channels not in (None, 1) and page.ndim == 2 and frame == 0
        if is_page_a_band and len(file.pages) == channels:
            array = np.stack([each.asarray() for each in file.pages], axis=-1)
        else:
            array = page.asarray()
            if page.ndim == 3 and page.axes[0] == "S":
                array = np.moveaxis(array, 0, -1)
        way = page.tags[_ORIENTATION].value if _ORIENTATION in page.tags else 1
        kind = page.photometric
    if channels is None and kind == tifffile.PHOTOMETRIC.RGB and array.shape[-1] == 4:
        return turned(over_white(unit(array, black, white)), int(way))
    picture = turned(unit(layers(array, channels), black, white), int(way))
    return 1 - picture if kind == tifffile.PHOTOMETRIC.MINISWHITE else picture


def page_of(path: Path, frame: int = 0) -> np.ndarray:
    """The values of a page as they are stored."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[frame].aspage()
        check_bytes(page.nbytes)
        return page.asarray()

"""PNG files with 16 bits per channel, of which Pillow keeps eight in colours."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt16

# Where the header says how many bits a channel has.
_DEPTH = 24


def has_16_bits(path: Path) -> bool:
    """Whether a PNG file has 16 bits per channel."""
    with path.open("rb") as file:
        return file.read(_DEPTH + 1)[_DEPTH:] == b"\x10"


def all_bits(path: Path) -> UInt16[np.ndarray, "h w c"]:
    """The pixels of such a file, with all their bits."""
    from torchvision.io import ImageReadMode, decode_image

    pixels: np.ndarray = decode_image(str(path), ImageReadMode.UNCHANGED).numpy()
    return np.moveaxis(pixels, 0, -1)

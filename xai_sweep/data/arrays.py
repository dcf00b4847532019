"""Pictures as arrays of numbers: how their axes lie, and which values are black and white."""

import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

# The depths that cameras and scanners have, in bits.
_DEPTHS = (8, 10, 12, 14, 16)
_SIXTEEN_BITS = 2**16 - 1


def from_numpy(path: Path, frame: int = 0) -> np.ndarray:
    """The array of an npy file, or the arrays of an npz file as bands, in the order of the file.

    Objects are not loaded, because they could run code.

    Args:
        path: the file.
        frame: which one, of an array with four axes.

    Raises:
        ValueError: there is no such array.
    """
    if path.suffix.lower() == ".npz":
        with zipfile.ZipFile(path) as archive:
            check_bytes(sum(member.file_size for member in archive.infolist()))
        with np.load(path, allow_pickle=False) as stored:
            bands = [stored[name] for name in stored.files]
        return bands[0] if len(bands) == 1 else np.stack(bands)
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    array = mapped[frame] if mapped.ndim == 4 else mapped
    check_bytes(array.nbytes)
    return np.asarray(array)


def check_bytes(size: int) -> None:
    """Refuse what would fill the memory, by Pillow's limit of pixels.

    Raises:
        ValueError: it is larger.
    """
    # Pillow refuses twice its limit; the largest pixel of a photo has four channels of 16 bits.
    most = (Image.MAX_IMAGE_PIXELS or size) * 16
    if size > most:
        raise ValueError(f"holds {size} bytes, which could be a decompression bomb")


def layers(array: np.ndarray, channels: int | None = None) -> np.ndarray:
    """An array as ``[H, W, C]``, whichever axis its channels lie on.

    Args:
        array: ``[H, W]``, ``[H, W, C]`` or ``[C, H, W]``.
        channels: how many there must be; None for a photo, which has one or three.

    Raises:
        ValueError: it has another shape, or both the first axis and the last could be the channels.
    """
    allowed = (1, 3) if channels is None else (channels,)
    shape = " x ".join(map(str, array.shape))
    needed = f"{' or '.join(map(str, allowed))} channel{'' if allowed == (1,) else 's'}"
    if array.ndim == 2 and 1 in allowed and array.size:
        return array[..., None]
    if array.ndim == 3 and array.size:
        first, last = array.shape[0] in allowed, array.shape[-1] in allowed
        if first and last and array.shape[0] != 1 and array.shape[-1] != 1:
            raise ValueError(f"is {shape}: the first axis and the last could both be the channels")
        if last and not (first and array.shape[0] == 1 and 1 not in array.shape[1:]):
            return array
        if first:
            return np.moveaxis(array, 0, -1)
    raise ValueError(f"is {shape}, the network takes pictures of {needed}")


def over_white(image: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w d"]:
    """Grey or colours without transparency, which is the second or the fourth channel."""
    if image.shape[-1] in (1, 3):
        return image
    colours, alpha = image[..., :-1], image[..., -1:]
    laid: np.ndarray = colours * alpha + (1 - alpha)
    return laid


def unit(
    array: np.ndarray, black: float | None = None, white: float | None = None
) -> Float[np.ndarray, "..."]:
    """Values from 0 for black to 1 for white, ``float32``.

    Eight bits are taken as they are. Without ``white``, whole numbers up to 65535 are of the
    smallest usual depth that holds them (8, 10, 12, 14 or 16 bits), and others must lie between 0
    and 1. What lies outside of black and white is cut off.

    Args:
        array: any shape.
        black: the value that is black; None for 0. Nothing without ``white``.
        white: the value that is white; None if nobody says.

    Raises:
        ValueError: values are not finite, or it cannot be known what they mean.
    """
    if array.dtype.kind not in "buif":
        raise ValueError(f"holds {array.dtype}, not numbers")
    if array.dtype == np.uint8:
        return np.asarray(array / np.float32(255))
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("holds pixels that are infinite or not a number")
    if array.dtype.kind == "b":
        return values.astype(np.float32)
    low, high = black or 0.0, white
    if high is None:
        low, high = 0.0, _full(array, float(values.min()), float(values.max()))
    scaled: np.ndarray = ((values - low) / (high - low)).clip(0, 1)
    return scaled.astype(np.float32)


def _full(array: np.ndarray, least: float, most: float) -> float:
    """The value that is white, where nobody says."""
    is_whole = array.dtype.kind in "ui"
    if least >= 0 and most <= (_SIXTEEN_BITS if is_whole else 1):
        return float(2 ** depth_of(int(most)) - 1) if is_whole else 1.0
    wanted = "data.black and data.white say what is black and white"
    raise ValueError(f"has values from {least:g} to {most:g}; {wanted}")


def depth_of(largest: int) -> int:
    """The smallest usual depth that holds a value, in bits; 16 if it is 0, which says nothing."""
    return next((bits for bits in _DEPTHS if 0 < largest < 2**bits), 16)

"""Reading any picture: as a photo in RGB, or as a stack of channels.

A photo is read as an image viewer shows it, with 8 bits per channel:

- it is turned upright; nothing else of its metadata is looked at, or can make it unreadable;
- transparent pixels are laid over white;
- of more than 8 bits, black and white are as `xai_sweep.data.arrays.unit` says;
- DICOM is shown as `xai_sweep.data.dicom` says;
- colour profiles are not applied, except that of L*a*b*, which cannot be shown otherwise.
"""

import io
import warnings
from pathlib import Path
from stat import S_ISREG

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.Image import Image as PillowImage

from xai_sweep.data.arrays import from_numpy, layers, over_white, unit
from xai_sweep.data.dicom import read_dicom
from xai_sweep.data.formats import SCALED, format_of, make_ready
from xai_sweep.data.metadata import orientation, turned, upright, without_remarks
from xai_sweep.data.png import all_bits, has_16_bits
from xai_sweep.data.tiff import is_for_tifffile, read_tiff


class UnreadableImage(OSError):  # noqa: N818 - the name says that it is an error
    """A file that cannot be read as an image; the message is one line that says why."""


def read_image(
    path: Path, frame: int = 0, black: float | None = None, white: float | None = None
) -> PillowImage:
    """A photo as 8-bit RGB.

    Args:
        path: the file.
        frame: which of several, from 0.
        black: the value that is black, in images of more than 8 bits; None for 0.
        white: the value that is white there; None for the largest of the smallest usual depth that
            holds this image, 4095 for example.

    Raises:
        UnreadableImage: whatever is wrong with the file.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd metadata
            name = _checked(path)
            array = _array(path, name, None, frame, black, white)
            return _opened(path, frame, black, white) if array is None else _photo(array)
    except Exception as error:  # the packages that read raise anything on damaged files
        raise UnreadableImage(f"unreadable image: {_reason(path, error)}") from error


def read_stack(
    path: Path,
    channels: int,
    frame: int = 0,
    black: float | None = None,
    white: float | None = None,
) -> Float[np.ndarray, "c h w"]:
    """A picture with a given number of channels, which are taken as they are, from 0 to 1.

    Args:
        path: the file.
        channels: how many it must have.
        frame: which of several, from 0.
        black: as for `read_image`.
        white: as for `read_image`.

    Raises:
        UnreadableImage: it has another number of channels, or whatever is wrong with the file.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # likewise
            name = _checked(path)
            array = _array(path, name, channels, frame, black, white)
            if array is None:
                array = unit(layers(_bands(path, frame), channels), black, white)
        return np.ascontiguousarray(np.moveaxis(array, -1, 0))
    except Exception as error:  # likewise
        raise UnreadableImage(f"unreadable image: {_reason(path, error)}") from error


def _checked(path: Path) -> str:
    """The format of a file that may be opened."""
    if not S_ISREG(path.stat().st_mode):  # opening a pipe would block for ever
        raise OSError("not a file")
    name = format_of(path)
    make_ready(name)
    return name


def _array(
    path: Path,
    name: str,
    channels: int | None,
    frame: int,
    black: float | None,
    white: float | None,
) -> Float[np.ndarray, "h w c"] | None:
    """A picture from 0 to 1 whose file another package than Pillow reads; None if Pillow does."""
    if name == "DICOM":
        shown = read_dicom(path, frame, black, white)
        return shown if channels is None else layers(shown, channels)
    if name in ("NPY", "NPZ"):
        return unit(layers(from_numpy(path, frame), channels), black, white)
    if name == "TIFF" and (channels is not None or is_for_tifffile(path, frame)):
        return read_tiff(path, channels, frame, black, white)
    return None


def _opened(path: Path, frame: int, black: float | None, white: float | None) -> PillowImage:
    """A photo that Pillow reads; once more without its remarks if they are in the way."""
    try:
        # Given a path, Pillow 13.0 maps uncompressed files, and mixes up the lines of a TIFF file
        # that lies on its side.
        with path.open("rb") as file, Image.open(file) as image:
            return _read(image, path, frame, black, white)
    except Image.DecompressionBombError:
        raise
    except Exception:
        bare = without_remarks(path.read_bytes())
        if bare is None:
            raise
        with Image.open(io.BytesIO(bare)) as image:
            return _read(image, path, frame, black, white)


def _bands(path: Path, frame: int) -> np.ndarray:
    """The channels of a file that Pillow reads, as they are."""
    with path.open("rb") as file, Image.open(file) as image:
        image.seek(frame)
        way = orientation(image)
        return np.asarray(upright(image, way))


def _read(
    image: PillowImage, path: Path, frame: int, black: float | None, white: float | None
) -> PillowImage:
    image.seek(frame)
    way = orientation(image)
    if image.format == "PNG" and image.mode in ("RGB", "RGBA") and has_16_bits(path):
        return _photo(turned(over_white(unit(all_bits(path), black, white)), way))
    is_inverted = image.format == "TIFF" and vars(image)["tag_v2"].get(_PHOTOMETRIC) == 0
    if image.mode.startswith(("I", "F")):
        levels = (0.0, 65535.0) if image.format in SCALED else (black, white)
        grey = unit(np.asarray(image), *levels)
        return upright(_photo((1 - grey if is_inverted else grey)[..., None]), way)
    return upright(_rgb(image), way)


# Pillow inverts white-is-zero images of 8 bits and fewer by itself.
_PHOTOMETRIC = 262


def _photo(image: Float[np.ndarray, "h w c"]) -> PillowImage:
    """Grey or colours from 0 to 1 as 8-bit RGB."""
    levels: UInt8[np.ndarray, "h w c"] = (image * 255).round().astype(np.uint8)
    if levels.shape[-1] == 1:
        return Image.fromarray(levels[..., 0]).convert("RGB")
    return Image.fromarray(np.ascontiguousarray(levels))


def _rgb(image: PillowImage) -> PillowImage:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    return image.convert("RGB")


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        if path.stat().st_size == 0:
            return "the file is empty"
        name = format_of(path)
        return f"damaged, or of a kind of {name} that is not known" if name else _UNKNOWN
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


_UNKNOWN = "not an image Pillow knows"

"""Reading any image that Pillow reads, as RGB.

An image is read as an image viewer shows it, with 8 bits per channel:

- the EXIF orientation is applied;
- transparent pixels are laid over white;
- 16-bit grey is scaled from [0, 65535];
- 32-bit integers likewise if all lie in that range, otherwise from their smallest to their largest;
- floating-point grey is scaled from [0, 1] if all lie in that range, otherwise likewise;
- the first of several frames is taken;
- colour profiles are not applied, except that of L*a*b*, which cannot be shown otherwise.
"""

import warnings
from pathlib import Path
from stat import S_ISREG

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.Image import Image as PillowImage


class UnreadableImage(OSError):  # noqa: N818 - the name says that it is an error
    """A file that cannot be read as an image; the message is one line that says why."""


def read_image(path: Path) -> PillowImage:
    """An image as 8-bit RGB.

    Raises:
        UnreadableImage: whatever is wrong with the file.
    """
    try:
        if not S_ISREG(path.stat().st_mode):  # opening a pipe would block for ever
            raise OSError("not a file")
        # Pillow warns of odd metadata; the pixels either can be read or raise.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            return _rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's plugins raise anything on damaged files
        raise UnreadableImage(f"unreadable image: {_reason(path, error)}") from error


def _rgb(image: PillowImage) -> PillowImage:
    if image.mode.startswith(("I", "F")):
        return _eight_bits(np.asarray(image)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    return image.convert("RGB")


def _eight_bits(pixels: np.ndarray) -> PillowImage:
    values = pixels.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("holds pixels that are infinite or not a number")
    full = 1.0 if pixels.dtype.kind == "f" else 65535.0
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= full:
        low, high = 0.0, full
    scaled = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    return Image.fromarray(scaled.round().astype(np.uint8))


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "the file is empty" if path.stat().st_size == 0 else "not an image Pillow knows"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__

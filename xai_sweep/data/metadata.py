"""What a file says beside its pixels: which way up, and how to read it if the rest is damaged."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

# How the array of a photo is turned for each orientation of EXIF (CIPA DC-008, tag 274).
_TURNS: dict[object, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda photo: photo[:, ::-1],
    3: lambda photo: photo[::-1, ::-1],
    4: lambda photo: photo[::-1],
    5: lambda photo: photo.swapaxes(0, 1),
    6: lambda photo: np.rot90(photo, -1),
    7: lambda photo: photo[::-1, ::-1].swapaxes(0, 1),
    8: lambda photo: np.rot90(photo),
}
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What an image of PNG is decoded with; all other chunks are remarks.
_NEEDED_OF_PNG = {b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"IDAT", b"IEND"}
# Segments of JPEG that decoding needs, of those for applications: JFIF and Adobe's colours.
_NEEDED_OF_JPEG = {0xE0, 0xEE}


def orientation(image: Image.Image) -> int:
    """The orientation in which a photo is still to be turned, from 1 to 8; 1 if it is unknown.

    Pillow turns TIFF files itself when it loads their pixels, and decodes all of EXIF meanwhile;
    so that none of it can fail, all but the orientation is taken away.
    """
    found: object = 1
    try:
        exif = image.getexif()
        found = exif.get(ExifTags.Base.Orientation, 1)
        for tag in [tag for tag in exif if image.format == "TIFF"]:
            if tag != ExifTags.Base.Orientation:
                del exif[tag]
    except Exception:  # Pillow raises anything on damaged metadata
        return 1
    # The decoder of JPEG XL has turned the image already, except one that it keeps as a JPEG.
    is_turned = image.format == "TIFF" or (image.format == "JXL" and not vars(image).get("jpeg"))
    return found if isinstance(found, int) and found in _TURNS and not is_turned else 1


def turned(photo: np.ndarray, way: int) -> np.ndarray:
    """An array ``[H, W, ...]`` upright, given the orientation of EXIF."""
    return _TURNS[way](photo) if way in _TURNS else photo


def upright(image: Image.Image, way: int) -> Image.Image:
    """A Pillow image upright, given the orientation of EXIF."""
    return image.transpose(_TRANSPOSES[way]) if way in _TRANSPOSES else image


def without_remarks(content: bytes) -> bytes | None:
    """A JPEG or PNG file without profiles, texts and thumbnails; None if it is another file.

    The orientation stays.
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _needed_of_png(content)
    if content.startswith(b"\xff\xd8"):
        return _needed_of_jpeg(content)
    return None


def _needed_of_png(content: bytes) -> bytes:
    kept, at = [content[:8]], 8
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        chunk = content[at : at + length + 12]
        is_whole = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if kind in _NEEDED_OF_PNG and (is_whole or kind != b"eXIf"):
            kept.append(chunk)
        at += length + 12
    return b"".join(kept)


def _needed_of_jpeg(content: bytes) -> bytes:
    kept, at = [content[:2]], 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == 0xDA:  # pixels from here on
            break
        segment = content[at : at + 2 + int.from_bytes(content[at + 2 : at + 4])]
        is_exif = marker == 0xE1 and segment[4:10] == b"Exif\0\0"
        is_remark = marker == 0xFE or 0xE0 <= marker <= 0xEF
        if not is_remark or marker in _NEEDED_OF_JPEG or is_exif:
            kept.append(segment)
        at += len(segment)
    return b"".join([*kept, content[at:]])

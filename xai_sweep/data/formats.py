"""Which files are images, told by their first bytes and their names, and what reads them."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image, features

# What a file begins with: format, where, and the bytes there.
_BEGINNINGS = (
    ("DICOM", 128, b"DICM"),  # first, for what stands before may be that of a TIFF file
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("GIF", 0, b"GIF8"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("TIFF", 0, b"II+\0"),  # more than 4 GB
    ("TIFF", 0, b"MM\0+"),
    ("WEBP", 8, b"WEBP"),
    ("AVIF", 4, b"ftypavif"),
    ("AVIF", 4, b"ftypavis"),
    *(("HEIC", 4, b"ftyp" + brand) for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc")),
    *(("HEIC", 4, b"ftyp" + brand) for brand in (b"hevx", b"mif1", b"msf1", b"heif")),
    ("JXL", 0, b"\xff\x0a"),
    ("JXL", 0, b"\0\0\0\x0cJXL "),
    ("JPEG2000", 0, b"\0\0\0\x0cjP  "),
    ("NPY", 0, b"\x93NUMPY"),
)
_LONGEST_BEGINNING = 132

# By extension, where Pillow itself does not know it or the beginning does not tell.
_SUFFIXES = {
    ".heic": "HEIC",
    ".heif": "HEIC",
    ".hif": "HEIC",
    ".avif": "AVIF",
    ".jxl": "JXL",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
    ".npy": "NPY",
    ".npz": "NPZ",
}
# Pillow writes these but does not read them, or knows them by name only.
_NOT_READ = {"PDF", "PALM", "BUFR", "GRIB", "HDF5", "MPEG"}
# Formats whose files may hold several images of one size, or of one body.
_OF_FRAMES = {"GIF", "PNG", "TIFF", "WEBP", "AVIF", "HEIC"}

# Formats that say what is white, to which Pillow scales them: 65535 in 16 bits.
SCALED = {"PPM", "JPEG2000"}

# What reads a format: its package, our extra that installs it, and how it is told to begin.
_PACKAGES: dict[str, tuple[str, str, Callable[..., None] | None]] = {
    "HEIC": ("pillow_heif", "formats", lambda package: package.register_heif_opener()),
    "JXL": ("pillow_jxl", "formats", None),
    "DICOM": ("pydicom", "dicom", None),
}


class MissingExtraError(Exception):
    """A format needs a package that is not installed; the message says which, in one line."""


def format_of(path: Path) -> str:
    """The format of a file: by its first bytes, otherwise by its extension; empty if unknown.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_LONGEST_BEGINNING)
    for name, at, beginning in _BEGINNINGS:
        if head.startswith(beginning, at):
            return name
    return _SUFFIXES.get(path.suffix.lower(), "")


@cache
def suffixes() -> frozenset[str]:
    """The extensions of images, in lower case."""
    known = Image.registered_extensions().items()
    return frozenset({suffix for suffix, name in known if name not in _NOT_READ} | {*_SUFFIXES})


def is_array(path: Path) -> bool:
    """Whether a file is named as an array of numpy."""
    return path.suffix.lower() in (".npy", ".npz")


def is_image(path: Path) -> bool:
    """Whether a file is an image: by its extension, or by its content if it has none.

    An extension is short and holds a letter: ``scan.2`` and ``1.2.840.10008`` have none. A link to
    nowhere is judged by its name.
    """
    if path.suffix.lower() in suffixes():
        return True
    extension = path.suffix[1:]
    if extension.isalnum() and not extension.isdigit() and len(extension) <= 5:
        return False
    try:
        return path.is_file() and format_of(path) != ""
    except OSError:
        return False


@cache
def make_ready(name: str) -> None:
    """Load the package that reads a format, if Pillow does not.

    Raises:
        MissingExtraError: it is not installed.
    """
    if name == "AVIF" and not features.check("avif"):
        raise MissingExtraError("AVIF needs Pillow 11.3 or newer, as PyPI has it")
    package, extra, begin = _PACKAGES.get(name, ("", "", None))
    if not package:
        return
    try:
        module = import_module(package)
    except ImportError:
        raise MissingExtraError(f"{name} needs pip install 'xai_sweep[{extra}]'") from None
    if begin is not None:
        begin(module)


def frames(path: Path) -> int:
    """How many images a file holds; 1 if it cannot be read, as its row will say."""
    try:
        if not path.is_file():
            return 1
        name = format_of(path)
        make_ready(name)
        if name == "DICOM":
            from pydicom import dcmread

            header = dcmread(path, force=True, stop_before_pixels=True)
            return int(header.get("NumberOfFrames") or 1)
        if name == "NPY":
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            return int(shape[0]) if len(shape) == 4 else 1
        if name not in _OF_FRAMES:
            return 1
        with Image.open(path) as image:
            return int(vars(image).get("n_frames") or _count(image))
    except Exception:  # whatever the packages raise on damaged files
        return 1


def _count(image: Image.Image) -> int:
    count = 1
    try:
        while True:
            image.seek(count)
            count += 1
    except EOFError:
        return count

"""Any tree of images."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from xai_sweep.core.errors import InputError
from xai_sweep.data.base import ImageFile, ImageSet, first
from xai_sweep.data.labels import from_csv

log = logging.getLogger(__name__)

# Pillow writes these but does not read them, or knows them by name only.
_NOT_READ = {"PDF", "PALM", "BUFR", "GRIB", "HDF5", "MPEG"}


@dataclass(frozen=True)
class Folder(ImageSet):
    """All images in a folder and its sub-folders, links followed, hidden ones left out.

    An image is what has a file extension that Pillow reads. Its ``image_id`` is its path below
    ``root``, with slashes, and so survives moving or renaming ``root``.

    Attributes:
        root: the folder.
        limit: take the first images only; None takes all.
        labels: a csv file with the columns ``image_id`` (or ``file``, ``filename``, ``path``,
            ``image``) and ``label`` (or ``class``). By default ``labels.csv`` in ``root`` if there
            is one, otherwise the name of the first sub-folder, if an image lies in one.
    """

    root: str | None = None
    limit: int | None = None
    labels: str | None = None

    def files(self) -> tuple[ImageFile, ...]:  # noqa: D102
        if self.root is None:
            raise InputError("data.root", None, "a folder of images is needed")
        # A folder may be called 2024, which arrives as a number.
        root = Path(str(self.root)).expanduser()
        if not root.is_dir():
            what = "is not a folder" if root.exists() else "there is no such folder"
            raise InputError("data.root", self.root, f"{what}; a folder of images is needed")
        paths = {_image_id(root, path): path for path in _images(root)}
        if not paths:
            raise InputError("data.root", self.root, "no image in this folder or below it")
        given = (
            Path(str(self.labels)).expanduser() if self.labels is not None else root / "labels.csv"
        )
        if self.labels is not None or given.is_file():
            labels = from_csv(given, paths)
        else:
            labels = {name: name.split("/")[0] for name in paths if "/" in name}
        found = (ImageFile(name, path, labels.get(name)) for name, path in paths.items())
        return first(found, self.limit)


def _images(root: Path) -> Iterator[Path]:
    formats = Image.registered_extensions()
    suffixes = {suffix for suffix, name in formats.items() if name not in _NOT_READ}
    return (path for path in _walk(root, ()) if path.suffix.lower() in suffixes)


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Every file that is not hidden; a link to a folder that it lies in leads nowhere."""
    here = folder.resolve()
    if here in above:
        return
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        log.warning("%s is left out: %s", folder, error.strerror)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, (*above, here))
        else:
            yield entry


def _image_id(root: Path, path: Path) -> str:
    # A name that is not UTF-8 could not be written into a table.
    name = path.relative_to(root).as_posix().encode(errors="surrogateescape")
    return name.decode(errors="backslashreplace")

"""Any tree of images."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge
from PIL import Image
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.data.base import Box, ImageFile, ImageSet, first
from xai_sweep.data.boxes import KEY as BOXES
from xai_sweep.data.boxes import read_boxes
from xai_sweep.data.labels import read_labels

log = logging.getLogger(__name__)

# Pillow writes these but does not read them, or knows them by name only.
_NOT_READ = {"PDF", "PALM", "BUFR", "GRIB", "HDF5", "MPEG"}


@dataclass(frozen=True)
class Folder(ImageSet):
    """All images in a folder and its sub-folders, links followed, hidden ones left out.

    An image is a file with an extension that Pillow reads. Its ``image_id`` is its path below
    ``root``, with slashes, and so survives moving or renaming ``root``.

    Attributes:
        root: the folder.
        limit: take the first images only; None takes all.
        labels: a csv file with the columns ``image_id`` (or ``file``, ``filename``, ``path``,
            ``image``) and ``label`` (or ``class``). By default ``labels.csv`` in ``root`` if there
            is one, otherwise the name of the first sub-folder, if an image lies in one.
        boxes: a csv file that says where objects are, with the same column for the image, ``left``,
            ``top``, ``right``, ``bottom`` in pixels of the upright photo, and maybe ``label``; a
            line per box. None if it is not known.
    """

    root: str | None = None
    limit: Annotated[int, Ge(1)] | None = None
    labels: str | None = None
    boxes: str | None = None

    annotation_key: ClassVar[str | None] = BOXES

    @property
    @override
    def is_annotated(self) -> bool:
        return self.boxes is not None

    @override
    def files(self) -> tuple[ImageFile, ...]:
        if self.root is None:
            raise InputError("data.root", None, "a folder of images is needed")
        root = Path(self.root).expanduser()
        if not root.is_dir():
            what = "is not a folder" if root.exists() else "there is no such folder"
            raise InputError("data.root", self.root, f"{what}; a folder of images is needed")
        paths = {_image_id(root, path): path for path in _images(root)}
        if not paths:
            raise InputError("data.root", self.root, "no image in this folder or below it")
        labels = self._labels(root, paths)
        found = first(
            (ImageFile(name, paths[name], labels.get(name)) for name in paths), self.limit
        )
        boxes = self._boxes(paths, found)
        return tuple(replace(file, boxes=boxes.get(file.image_id, ())) for file in found)

    def _labels(self, root: Path, paths: dict[str, Path]) -> dict[str, str]:
        given = Path(self.labels).expanduser() if self.labels is not None else root / "labels.csv"
        if self.labels is not None or given.is_file():
            return read_labels(given, paths)
        return {name: name.split("/")[0] for name in paths if "/" in name}

    def _boxes(
        self, paths: dict[str, Path], chosen: tuple[ImageFile, ...]
    ) -> dict[str, tuple[Box, ...]]:
        if self.boxes is None:
            return {}
        names = {file.image_id for file in chosen}
        return read_boxes(Path(self.boxes).expanduser(), paths, names)


def _images(root: Path) -> Iterator[Path]:
    formats = Image.registered_extensions()
    suffixes = {suffix for suffix, name in formats.items() if name not in _NOT_READ}
    return (path for path in _walk(root, ()) if path.suffix.lower() in suffixes)


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Every file that is not hidden; a link to a folder that contains it is not followed."""
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

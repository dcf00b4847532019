"""Any tree of images."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.data.base import Box, ImageFile, ImageSet, first
from xai_sweep.data.boxes import KEY as BOXES
from xai_sweep.data.boxes import read_boxes
from xai_sweep.data.formats import frames, is_array, is_image
from xai_sweep.data.labels import read_labels

log = logging.getLogger(__name__)

# What systems and archives leave behind, which holds no photos of the user's.
_OF_THE_SYSTEM = {"@eaDir", "__MACOSX", "Thumbs.db", "desktop.ini", ".DS_Store"}
# Kinds of files that are named in a line.
_SHOWN = 6


@dataclass(frozen=True)
class Folder(ImageSet):
    """All images in a folder and its sub-folders, links followed, hidden ones left out.

    An image is a file with an extension of images, or one without extension whose content is an
    image. Arrays of numpy are images where there are no others. Its ``image_id`` is its path below
    ``root``, with slashes, and so survives moving or renaming ``root``. What is left out is said.

    Attributes:
        root: the folder.
        limit: take the first images only; None takes all.
        labels: a csv file that names images and their classes, see `read_labels`; ``none`` if they
            are not known. By default ``labels.csv`` in ``root`` if there is one that names
            images, otherwise the name of the first sub-folder, if an image lies in one.
        boxes: a csv file that says where objects are, with the same column for the image, ``left``,
            ``top``, ``right``, ``bottom`` in pixels of the upright photo, and maybe ``label``; a
            line per box. None if it is not known.
        frames: of files that hold several images, the ``first``, or ``all``, as ``NAME#1``,
            ``NAME#2`` and so on.
        black, white: the values that are black and white in images of more than 8 bits, for example
            4095 for 12 bits in 16; see `xai_sweep.data.arrays.unit`. Of DICOM files, in Hounsfield
            units or those of the modality, in place of the file's own window.
    """

    root: str | None = None
    limit: Annotated[int, Ge(1)] | None = None
    labels: str | None = None
    boxes: str | None = None
    frames: Literal["first", "all"] = "first"
    black: float | None = None
    white: float | None = None

    annotation_key: ClassVar[str | None] = BOXES

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.white is None and self.black is not None:
            raise InputError("data.white", None, "must be given where data.black is")
        if self.white is not None and self.white <= (self.black or 0):
            raise InputError("data.white", self.white, f"must be above {self.black or 0:g}, black")

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
        paths, left_out = _images(root)
        if not paths:
            found = f"; found {left_out}" if left_out else ""
            allowed = f"no image in this folder or below it{found}; name another"
            raise InputError("data.root", self.root, allowed)
        if left_out:
            log.warning("data.root=%s: left out %s", self.root, left_out)
        chosen = sorted(paths)[: self.limit]
        labels, boxes = self._labels(root, paths), self._boxes(paths, chosen)
        files = (
            ImageFile(
                *(image_id, paths[name], labels.get(name), boxes.get(name, ()), frame),
                black=self.black,
                white=self.white,
            )
            for name in chosen
            for frame, image_id in enumerate(self._frames(name, paths[name]))
        )
        return first(files, self.limit)

    def _frames(self, name: str, path: Path) -> list[str]:
        """The ``image_id`` of each image in a file."""
        count = frames(path) if self.frames == "all" else 1
        return [f"{name}#{number}" for number in range(1, count + 1)] if count > 1 else [name]

    def _labels(self, root: Path, paths: Mapping[str, Path]) -> dict[str, str]:
        if self.labels == "none":
            return {}
        if self.labels is not None:
            return read_labels(Path(self.labels).expanduser(), paths)
        given = root / "labels.csv"
        if given.is_file():
            return read_labels(given, paths)
        return {name: name.split("/")[0] for name in paths if "/" in name}

    def _boxes(
        self, paths: Mapping[str, Path], chosen: Sequence[str]
    ) -> dict[str, tuple[Box, ...]]:
        if self.boxes is None:
            return {}
        return read_boxes(Path(self.boxes).expanduser(), paths, {*chosen})


def _images(root: Path) -> tuple[dict[str, Path], str]:
    """The files of images by their name below the root, and what was left out, in words."""
    junk: Counter[str] = Counter()
    files = list(_walk(root, (), junk))
    images = [path for path in files if is_image(path)]
    arrays = {path for path in images if is_array(path)}
    if len(arrays) < len(images):  # numbers beside photos, which are features or masks
        images = [path for path in images if path not in arrays]
    others = Counter(path.suffix.lower() or "without extension" for path in {*files} - {*images})
    return {_image_id(root, path): path for path in images}, _in_words(others, junk)


def _in_words(others: Mapping[str, int], junk: Mapping[str, int]) -> str:
    words = []
    if others:
        total = sum(others.values())
        what = "file that is no image" if total == 1 else "files that are no images"
        words.append(f"{total} {what} ({_counts(others)})")
    if junk:
        words.append(f"hidden files or those of the system ({_counts(junk)})")
    return " and ".join(words)


def _counts(counts: Mapping[str, int]) -> str:
    """Each with its number, the commonest first, as many as a line holds."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name} {count}" for name, count in ordered[:_SHOWN])
    return f"{shown}, ..." if len(ordered) > _SHOWN else shown


def _walk(folder: Path, above: tuple[Path, ...], junk: Counter[str]) -> Iterator[Path]:
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
        if entry.name in _OF_THE_SYSTEM or entry.name.startswith("."):
            hidden = "._*" if entry.name.startswith("._") else "hidden"
            junk[entry.name if entry.name in _OF_THE_SYSTEM else hidden] += 1
        elif entry.is_dir():
            yield from _walk(entry, (*above, here), junk)
        else:
            yield entry


def _image_id(root: Path, path: Path) -> str:
    # A name that is not UTF-8 could not be written into a table.
    name = path.relative_to(root).as_posix().encode(errors="surrogateescape")
    return name.decode(errors="backslashreplace")

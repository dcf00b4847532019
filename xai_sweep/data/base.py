"""What a set of images is, and what makes two sets the same."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xai_sweep.core.errors import InputError
from xai_sweep.core.hashing import file_sha256
from xai_sweep.core.parameters import Declared


@dataclass(frozen=True)
class Box:
    """A rectangle around an object in a photo.

    Attributes:
        left, top, right, bottom: in pixels from the upper left corner of the upright photo; the
            first pixel covers 0 to 1.
        label: the class of the object, if known.
    """

    left: float
    top: float
    right: float
    bottom: float
    label: str | None = None


@dataclass(frozen=True)
class ImageFile:
    """One image of a set.

    Attributes:
        image_id: its name within the set, the same wherever the set is stored.
        path: the file.
        label: its true class, if known.
        boxes: where the objects are, if known.
        frame: which of the images in the file, from 0.
        black, white: the values that are black and white, in images of more than 8 bits; see
            `xai_sweep.data.arrays.unit`.
    """

    image_id: str
    path: Path
    label: str | None = None
    boxes: tuple[Box, ...] = ()
    frame: int = 0
    black: float | None = None
    white: float | None = None


class ImageSet(Declared, ABC):
    """A set of images. A frozen dataclass.

    Class attributes:
        annotation_key: the parameter that says where the objects are, as typed on the command
            line; None if this kind of data set cannot say.
    """

    group: ClassVar[str] = "data"
    annotation_key: ClassVar[str | None] = None

    @property
    def is_annotated(self) -> bool:
        """Whether the set says where the objects are, at least for some images."""
        return False

    @abstractmethod
    def files(self) -> tuple[ImageFile, ...]:
        """The images, sorted by ``image_id``; at most ``limit`` of them, at least one.

        Raises:
            InputError: there are none.
        """


def require_annotations(images: ImageSet, metric: str, entry: str = "") -> None:
    """Refuse a metric that needs to know where the objects are if the data set does not say.

    Args:
        images: the data set.
        metric: the name of the metric.
        entry: the name of the data set's entry, ``samples`` for example.

    Raises:
        InputError: names the key that gives annotations.
    """
    if images.is_annotated:
        return
    needs = f"metric {metric} needs to know where the object is"
    if images.annotation_key is None:
        name = entry or type(images).__name__
        allowed = f"{needs}, which this data set does not say; data=folder does, with data.boxes"
        raise InputError("data", name, allowed)
    key = images.annotation_key
    raise InputError(key, None, f"{needs}; {key} names a csv file with boxes")


def first(files: Iterable[ImageFile], limit: int | None) -> tuple[ImageFile, ...]:
    """The first ``limit`` images by ``image_id``, or all."""
    return tuple(sorted(files, key=lambda file: file.image_id)[:limit])


def fingerprint(files: Sequence[ImageFile]) -> str:
    """SHA-256 over the names, contents and boxes of images, and how they are read, hexadecimal.

    It does not depend on where the images are stored, when they were written, or how they are
    labelled. A file that cannot be read counts as such.
    """
    with ThreadPoolExecutor() as threads:
        lines = sorted(threads.map(_line, files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _line(file: ImageFile) -> str:
    try:
        # Reading a pipe would block for ever.
        content = file_sha256(file.path) if file.path.is_file() else "no file"
    except OSError:
        content = "unreadable"
    # Nothing is added without boxes, so that sets without any keep their fingerprint.
    boxes = f"\0{file.boxes!r}" if file.boxes else ""
    how = (file.frame, file.black, file.white)
    read = f"\0{how!r}" if how != (0, None, None) else ""
    return f"{file.image_id}\0{content}{boxes}{read}\n"

"""What a set of images is, and what makes two sets the same."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from xai_sweep.core.errors import InputError
from xai_sweep.core.hashing import file_sha256


@dataclass(frozen=True)
class ImageFile:
    """One image of a set.

    Attributes:
        image_id: its name within the set, the same wherever the set lies.
        path: where it lies now.
        label: its true class, if known.
    """

    image_id: str
    path: Path
    label: str | None = None


class ImageSet(ABC):
    """A set of images. A frozen dataclass."""

    @abstractmethod
    def files(self) -> tuple[ImageFile, ...]:
        """The images, sorted by ``image_id``; at most ``limit`` of them, at least one.

        Raises:
            InputError: there are none, or ``limit`` is not a positive whole number.
        """


def first(files: Iterable[ImageFile], limit: int | None) -> tuple[ImageFile, ...]:
    """The first ``limit`` images by ``image_id``, or all.

    Raises:
        InputError: ``limit`` is not a positive whole number.
    """
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InputError("data.limit", limit, "must be a whole number from 1, or null for all")
    return tuple(sorted(files, key=lambda file: file.image_id)[:limit])


def fingerprint(files: Sequence[ImageFile]) -> str:
    """SHA-256 over the names and contents of images, hexadecimal.

    It does not depend on where the images lie, when they were written, or how they are labelled.
    A file that cannot be read counts as such.
    """
    with ThreadPoolExecutor() as threads:
        lines = sorted(threads.map(_line, files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _line(file: ImageFile) -> str:
    try:
        # Reading a pipe would wait for ever.
        content = file_sha256(file.path) if file.path.is_file() else "no file"
    except OSError:
        content = "unreadable"
    return f"{file.image_id}\0{content}\n"

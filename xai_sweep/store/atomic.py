"""Files that are written completely or not at all."""

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY = "_*.tmp"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path`, which takes its place when the block ends without an exception.

    The content reaches the disk before the name does, so that even a power cut leaves either
    the old file or the new one. The temporary name matches `TEMPORARY`; only a killed process
    leaves it behind.
    """
    # The leading underscore and the suffix hide it from readers of the folder as a data set.
    # Several hosts may write here, so a pid would not be unique.
    temporary = path.with_name(f"_{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # the error of a full disk names no file
        raise
    _sync_folder(path.parent)


def write_json(
    path: Path, content: Mapping[str, object], before: Callable[[], None] = lambda: None
) -> None:
    """Write a JSON object, completely or not at all; `before` runs last and may raise."""
    with replacing(path) as file:
        file.write(as_json(content))
        before()


def as_json(content: Mapping[str, object]) -> bytes:
    """A JSON object as the text of a file."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> dict[str, object] | None:
    """The JSON object in a file; None if it is missing or holds something else."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # a folder cannot be opened elsewhere
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

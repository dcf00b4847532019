"""Hashes of files, remembered within a process as long as a file looks untouched."""

import hashlib
from functools import cache
from pathlib import Path


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal.

    A file is read again only when its size or its time of modification has changed.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

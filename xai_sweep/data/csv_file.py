"""Tables about images: a csv file whose first line names the columns."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from xai_sweep.core.errors import InputError

# Names of the columns that say which image, and which class.
IMAGE = ("image_id", "file", "filename", "path", "image")
LABEL = ("label", "class")


@dataclass(frozen=True)
class CsvFile:
    """The content of a csv file.

    Attributes:
        path: the file.
        key: the configuration key that names it.
        columns: the names in its first line, in lower case.
        rows: the other lines that are not empty, with their numbers, from 2.
    """

    path: Path
    key: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, list[str]], ...]

    def column(self, *names: str) -> int | None:
        """Where the first column with one of these names is; None if there is none."""
        return next((self.columns.index(name) for name in names if name in self.columns), None)

    def error(self, allowed: str) -> InputError:
        """An error about this file."""
        return InputError(self.key, self.path, allowed)


def read_csv(key: str, path: Path) -> CsvFile:
    """Read a csv file in UTF-8, separated by commas, semicolons or tabs.

    Args:
        key: the configuration key that names it, ``data.labels`` for example.
        path: the file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(key, path, "must be a csv file in UTF-8") from error
    lines = text.splitlines()
    separator = max(",;\t", key=lines[0].count) if lines else ","
    reader = csv.reader(lines, delimiter=separator)
    header = next(reader, [])
    rows = tuple((reader.line_num, row) for row in reader if row)
    return CsvFile(path, key, tuple(name.strip().lower() for name in header), rows)


def image_name(written: str) -> str:
    """An image's name as `ImageFile.image_id` has it, whatever system the file was written on."""
    return PurePosixPath(written.strip().replace("\\", "/")).as_posix()


def either(names: Sequence[str]) -> str:
    """Names as alternatives, for an error message."""
    return " or ".join(names)

"""Tables about images: csv files in the forms in which data sets bring them."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from xai_sweep.core.errors import InputError
from xai_sweep.core.text import read_text

# Names of the columns that say which image, and which class; the first that is there counts.
IMAGE = (
    *("image_id", "image", "file", "filename", "file_name", "path", "image_path", "filepath"),
    *("image_name", "imagename", "img", "img_name", "name", "id"),
)
LABEL = (
    *("label", "class", "class_name", "classname", "category", "breed", "species", "target"),
    *("diagnosis", "dx", "y", "label_name", "class_id", "category_id", "labels"),
)
IMAGE_IN_WORDS = "image (or image_id, file, path, name, id)"
LABEL_IN_WORDS = "label (or class, category, breed, target, y)"
# A table about images of a few million lines; more is another file, or a mistake.
_LARGEST = 2**30


@dataclass(frozen=True)
class CsvFile:
    """The content of a csv file.

    Attributes:
        path: the file.
        key: the configuration key that names it.
        everything: the lines that are not empty, with their numbers.
    """

    path: Path
    key: str
    everything: tuple[tuple[int, list[str]], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The cells of the first line, in lower case and with underscores."""
        first = self.everything[0][1] if self.everything else []
        return tuple(cell.strip().lower().replace(" ", "_").replace("-", "_") for cell in first)

    @property
    def rows(self) -> tuple[tuple[int, list[str]], ...]:
        """The other lines."""
        return self.everything[1:]

    def column(self, *names: str) -> int | None:
        """Where the first of these names that is a column is; None if none is."""
        return next((self.columns.index(name) for name in names if name in self.columns), None)

    def error(self, allowed: str) -> InputError:
        """An error about this file."""
        return InputError(self.key, self.path, allowed)


def read_csv(key: str, path: Path) -> CsvFile:
    """Read a csv file, separated by commas, semicolons, tabs, bars, or else by spaces.

    It is in UTF-8, in UTF-16 with a mark at the beginning, or otherwise taken as cp1252, which
    spreadsheets write; that is said.

    Args:
        key: the configuration key that names it, ``data.labels`` for example.
        path: the file.

    Raises:
        InputError: it cannot be read, or is no table.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(key, path, "is larger than 1 GiB; a csv file about images is needed")
        rows = _rows(read_text(key, path))
    except OSError as error:
        raise InputError(key, path, f"must be a csv file ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(key, path, f"must be a csv file in UTF-8 ({error.reason})") from error
    except csv.Error as error:
        raise InputError(key, path, f"must be a csv file ({error})") from error
    return CsvFile(path, key, tuple(rows))


def _rows(text: str) -> list[tuple[int, list[str]]]:
    first, _, rest = text.lstrip().partition("\n")
    separator = max(",;\t|", key=first.count)
    if first.lower().startswith("sep="):  # a spreadsheet's own line before the table
        separator, text = first[4:5] or ",", f"\n{rest}"
    elif separator not in first:
        separator = " "
    # Cells in quotes may hold line ends, so the reader must see those.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]


def shown(cell: str) -> str:
    """A cell or a name as it can stand in a line: without line ends, and not too long."""
    text = " ".join(cell.split())
    return f"{text[:60]}..." if len(text) > 60 else text

"""True classes from a csv file."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from xai_sweep.data.csv_file import (
    IMAGE,
    IMAGE_IN_WORDS,
    LABEL,
    LABEL_IN_WORDS,
    CsvFile,
    read_csv,
    shown,
)
from xai_sweep.data.image_names import ImageNames

KEY = "data.labels"
_WAY_OUT = "data.labels=none goes on without labels"

Rows = Sequence[tuple[int, list[str]]]

log = logging.getLogger(__name__)


def read_labels(path: Path, images: Collection[str]) -> dict[str, str]:
    """Labels by ``image_id``; images without one are left out, and counted in a line.

    The first line names the columns, in any of the usual ways (`IMAGE`, `LABEL`); in a table of two
    columns it may be missing, or name one of them. `ImageNames` says how an image is named; if
    several lines name it, the most exact one counts.

    Raises:
        InputError: the file cannot be read, has no column for images or labels, names none of the
            images, or gives one image two labels.
    """
    file = read_csv(KEY, path)
    names = ImageNames(images)
    image, label, rows = _columns(file, names)
    complete = [(line, row) for line, row in rows if len(row) > max(image, label)]
    found: dict[str, tuple[int, str]] = {}
    matched = 0
    for line, row in complete:
        written = row[label].strip()
        named, exactness = names.named(row[image]) if written else ([], 0)
        matched += bool(named)
        for name in named:
            before, known = found.get(name, (-1, written))
            if exactness == before and written != known:
                two = f"{shown(known)} and {shown(written)}"
                raise file.error(f"line {line}: {shown(name)} has two labels, {two}; {_WAY_OUT}")
            if exactness > before:
                found[name] = exactness, written
    if not found:
        example = shown(complete[0][1][image]) if complete else "nothing"
        own = f"it says {example}, the first image is {shown(min(images))}"
        raise file.error(f"names none of the images: {own}; {_WAY_OUT}")
    if matched < len(rows) or len(found) < len(images):
        log.warning(
            "%s=%s: %d of %d rows name an image, %d of %d images have a label",
            *(KEY, path, matched, len(rows), len(found), len(images)),
        )
    return {name: label for name, (_, label) in found.items()}


def _columns(file: CsvFile, names: ImageNames) -> tuple[int, int, Rows]:
    """Where images and labels are, and the rows."""
    image, label = file.column(*IMAGE), file.column(*LABEL)
    if image is not None and label is not None:
        return image, label, file.rows
    if len(file.columns) == 2:
        rows: Rows = file.everything
        # The column that names images; the first line is a header unless it does too.
        for at in (0, 1):
            if any(len(row) == 2 and names.named(row[at])[0] for _, row in rows):
                return at, 1 - at, rows if names.named(rows[0][1][at])[0] else file.rows
    columns = ", ".join(map(shown, file.columns[:8])) or "nothing"
    allowed = f"needs a column {IMAGE_IN_WORDS} and a column {LABEL_IN_WORDS}, has {columns}"
    raise file.error(f"{allowed}; {_WAY_OUT}")

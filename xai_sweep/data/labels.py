"""True classes from a csv file."""

import csv
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from xai_sweep.core.errors import InputError

_IMAGE = ("image_id", "file", "filename", "path", "image")
_LABEL = ("label", "class")


def from_csv(path: Path, images: Collection[str]) -> dict[str, str]:
    """Labels by ``image_id``; images without one are left out.

    The first line names the columns; they are separated by commas, semicolons or tabs. An image is
    named by its ``image_id``, or by its bare file name.

    Raises:
        InputError: the file or its columns are not there, or it names none of the images.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("data.labels", path, "must be a csv file in UTF-8") from error
    lines = text.splitlines()
    separator = max(",;\t", key=lines[0].count) if lines else ","
    header, *rows = list(csv.reader(lines, delimiter=separator)) or [[]]
    columns = [name.strip().lower() for name in header]
    image = next((columns.index(name) for name in _IMAGE if name in columns), None)
    label = next((columns.index(name) for name in _LABEL if name in columns), None)
    if image is None or label is None:
        raise InputError(
            "data.labels",
            path,
            f"needs a column {' or '.join(_IMAGE)} and a column {' or '.join(_LABEL)}",
        )
    complete = [row for row in rows if len(row) > max(image, label) and row[label].strip()]
    named = {_normal(row[image]): row[label].strip() for row in complete}
    labels = {
        name: named[key]
        for name in images
        for key in (name if name in named else PurePosixPath(name).name,)
        if key in named
    }
    if not labels:
        raise InputError(
            "data.labels", path, f"names none of the images; the first of them is {min(images)}"
        )
    return labels


def _normal(name: str) -> str:
    return PurePosixPath(name.strip().replace("\\", "/")).as_posix()

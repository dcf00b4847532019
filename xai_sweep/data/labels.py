"""True classes from a csv file."""

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from xai_sweep.data.csv_file import IMAGE, LABEL, either, image_name, read_csv

KEY = "data.labels"


def read_labels(path: Path, images: Collection[str]) -> dict[str, str]:
    """Labels by ``image_id``; images without one are left out.

    The first line names the columns; they are separated by commas, semicolons or tabs. An image is
    named by its ``image_id``, or by its bare file name.

    Raises:
        InputError: the file or a column is missing, or it names none of the images.
    """
    file = read_csv(KEY, path)
    image, label = file.column(*IMAGE), file.column(*LABEL)
    if image is None or label is None:
        raise file.error(f"needs a column {either(IMAGE)} and a column {either(LABEL)}")
    complete = [row for _, row in file.rows if len(row) > max(image, label) and row[label].strip()]
    named = {image_name(row[image]): row[label].strip() for row in complete}
    labels = {
        name: named[key]
        for name in images
        for key in (name if name in named else PurePosixPath(name).name,)
        if key in named
    }
    if not labels:
        raise file.error(f"names none of the images; the first of them is {min(images)}")
    return labels

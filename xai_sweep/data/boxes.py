"""Boxes around objects from a csv file."""

import math
import warnings
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from PIL import ExifTags, Image

from xai_sweep.data.base import Box
from xai_sweep.data.csv_file import IMAGE, IMAGE_IN_WORDS, LABEL, CsvFile, read_csv, shown
from xai_sweep.data.image_names import ImageNames
from xai_sweep.data.reading import read_image

KEY = "data.boxes"
SIDES = ("left", "top", "right", "bottom")
# Orientations of EXIF in which width and height are exchanged.
_LYING = (5, 6, 7, 8)


def read_boxes(
    path: Path, images: Mapping[str, Path], chosen: Collection[str] | None = None
) -> dict[str, tuple[Box, ...]]:
    """Boxes by ``image_id``, in the order of the file; images without one are left out.

    The first line names the columns: one for the image, named as for labels, ``left``, ``top``,
    ``right`` and ``bottom`` in pixels of the upright photo, and ``label`` if there are classes.
    Each line is a box. `ImageNames` says how an image is named; the name must be that of one alone.

    Args:
        path: the csv file.
        images: every image of the set: its file by its ``image_id``.
        chosen: the images that are used, whose sizes are looked up; None for all.

    Raises:
        InputError: the file, a column or an image is missing, or a box is empty, inverted or
            outside of its photo. Names the line.
    """
    file = read_csv(KEY, path)
    image, label = file.column(*IMAGE), file.column(*LABEL)
    found = [file.column(side) for side in SIDES]
    sides = [column for column in found if column is not None]
    if image is None or len(sides) < len(SIDES):
        raise file.error(f"needs a column {IMAGE_IN_WORDS} and the columns {', '.join(SIDES)}")
    if not file.rows:
        raise file.error("holds no boxes; must have a row per box")
    by_name = ImageNames(images)
    boxes: dict[str, list[Box]] = defaultdict(list)
    sizes: dict[str, tuple[int, int] | None] = {}
    for line, row in file.rows:
        if len(row) < len(file.columns):
            counted = f"{len(row)} of {len(file.columns)} columns"
            raise file.error(f"line {line} has {counted}; it needs all")
        names, _ = by_name.named(row[image])
        if len(names) != 1:
            several = ", ".join(map(shown, sorted(names)[:5]))
            what = f"several images: {several}" if names else "none of the images"
            given = f"line {line}: {shown(row[image])}"
            raise file.error(f"{given} is the name of {what}; it must be of one")
        (name,) = names
        box = _box(file, line, [row[side] for side in sides], "" if label is None else row[label])
        if chosen is None or name in chosen:
            if name not in sizes:
                sizes[name] = _size(images[name])
            _check_inside(file, line, box, sizes[name])
        boxes[name].append(box)
    return {name: tuple(each) for name, each in boxes.items()}


def _box(file: CsvFile, line: int, written: Sequence[str], label: str) -> Box:
    try:
        left, top, right, bottom = map(float, written)
    except ValueError:
        raise file.error(f"line {line}: {', '.join(SIDES)} must be numbers") from None
    box = Box(left, top, right, bottom, label.strip() or None)
    if not (0 <= left < right < math.inf and 0 <= top < bottom < math.inf):
        allowed = "0 <= left < right and 0 <= top < bottom"
        raise file.error(f"line {line}: {_spelled(box)}: must have {allowed}")
    return box


def _check_inside(file: CsvFile, line: int, box: Box, size: tuple[int, int] | None) -> None:
    if size is not None and (box.right > size[0] or box.bottom > size[1]):
        photo = f"{size[0]} x {size[1]} pixels"
        raise file.error(f"line {line}: {_spelled(box)}: must lie in the photo of {photo}")


def _spelled(box: Box) -> str:
    return ", ".join(f"{side}={getattr(box, side):g}" for side in SIDES)


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of the upright photo; None if it cannot be read, as its rows will say."""
    try:
        if not path.is_file():  # opening a pipe would block for ever
            return None
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            if image.format in ("JPEG", "MPO"):  # whose header is enough
                lying = image.getexif().get(ExifTags.Base.Orientation) in _LYING
                return image.size[::-1] if lying else image.size
        return read_image(path).size
    except Exception:  # Pillow's plugins raise anything on damaged files
        return None

"""A data set."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.data.base import ImageFile, ImageSet


@dataclass(frozen=True)
class Listed(ImageSet):
    """Images that a csv file lists: a column ``file``, relative to it, and a column ``label``.

    Attributes:
        table: path of the csv file.
        limit: number of images, None for all.
    """

    table: str | None = None
    limit: Annotated[int, Ge(1)] | None = None

    @override
    def files(self) -> tuple[ImageFile, ...]:
        path = Path(self.table or "")
        if not path.is_file():
            raise InputError("data.table", self.table, "must be the path of a csv file")
        with path.open(newline="") as file:
            lines = list(csv.DictReader(file))
        if not lines or not {"file", "label"} <= lines[0].keys():
            allowed = "must be a csv file with columns file and label, and a line for each image"
            raise InputError("data.table", self.table, allowed)
        found = [
            ImageFile(line["file"], path.parent / line["file"], line["label"]) for line in lines
        ]
        return tuple(sorted(found, key=lambda each: each.image_id)[: self.limit])

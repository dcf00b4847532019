"""Collects the rows of one cell and writes them shard by shard."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xai_sweep.results.cell_folder import CellFolder
from xai_sweep.results.heatmaps import Heatmaps

# A shard is written after this time even if it is small: what a killed job loses at most.
_SECONDS = 300.0


@dataclass
class CellWriter:
    """Buffers the rows of a cell, and writes a shard when there are enough images.

    Attributes:
        folder: the cell, after `CellFolder.begin`.
        done: images whose rows are there already; theirs are ignored.
        constants: columns that are the same in every row of the cell.
        shard_images: images per shard.
        keep_worst: keep the heatmaps of so many images per shard; None for all that are given.
    """

    folder: CellFolder
    done: frozenset[str]
    constants: Mapping[str, Any]
    shard_images: int
    keep_worst: int | None
    _rows: list[Mapping[str, Any]] = field(default_factory=list)
    _drawings: list[Heatmaps] = field(default_factory=list)
    _images: set[str] = field(default_factory=set)
    _written: int = 0
    _failed: int = 0
    _since: float = field(default_factory=time.monotonic)

    def add(
        self, image_id: str, rows: Sequence[Mapping[str, Any]], drawing: Heatmaps | None
    ) -> None:
        """Take all rows of one image, and its heatmaps if they are to be kept."""
        if image_id in self.done:
            return
        self._images.add(image_id)
        self._failed += any(row.get("error") is not None for row in rows)
        self._rows += [{**self.constants, **row} for row in rows]
        if drawing is not None:
            self._drawings.append(drawing)
            if self.keep_worst is not None and len(self._drawings) > 2 * self.keep_worst:
                self._drawings = [Heatmaps.concatenate(self._drawings).worst(self.keep_worst)]
        late = time.monotonic() - self._since > _SECONDS
        if len(self._images) >= self.shard_images or late:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered as a shard."""
        if self._rows:
            kept = Heatmaps.concatenate(self._drawings) if self._drawings else None
            if kept is not None and self.keep_worst is not None:
                kept = kept.worst(self.keep_worst)
            self.folder.write(self._rows, kept)
        self._written += len(self._images)
        self._rows, self._drawings, self._images = [], [], set()
        self._since = time.monotonic()

    def close(self, expected: int) -> dict[str, int]:
        """Write the rest.

        Returns:
            Counts for the manifest.

        Raises:
            RuntimeError: the cell does not hold every image; it must not be declared complete.
        """
        self.flush()
        images = self._written + len(self.done)
        if images != expected:
            raise RuntimeError(f"{self.folder.path}: rows of {images} images, not of {expected}")
        return {"images": images, "failed": self._failed}

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
    _images: int = 0
    _since: float = field(default_factory=time.monotonic)

    def add(
        self, image_id: str, rows: Sequence[Mapping[str, Any]], drawing: Heatmaps | None
    ) -> None:
        """Take all rows of one image, and its heatmaps if they are to be kept."""
        if image_id in self.done:
            return
        self._images += 1
        self._rows += [{**self.constants, **row} for row in rows]
        if drawing is not None:
            self._drawings.append(drawing)
            if self.keep_worst is not None and len(self._drawings) > 2 * self.keep_worst:
                self._drawings = [Heatmaps.concatenate(self._drawings).worst(self.keep_worst)]
        late = time.monotonic() - self._since > _SECONDS
        if self._images >= self.shard_images or late:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered as a shard."""
        rows, drawings = self._rows, self._drawings
        # Emptied first: if writing is interrupted, a second flush must not write them twice.
        self._rows, self._drawings, self._images = [], [], 0
        if rows:
            kept = Heatmaps.concatenate(drawings) if drawings else None
            if kept is not None and self.keep_worst is not None:
                kept = kept.worst(self.keep_worst)
            self.folder.write(rows, kept)
        self._since = time.monotonic()

    def close(self, expected: int) -> dict[str, int]:
        """Write the rest.

        Returns:
            Counts for the manifest, see `CellFolder.counts`.

        Raises:
            RuntimeError: the cell does not hold every image; it must not be declared complete.
        """
        self.flush()
        counts = self.folder.counts()
        if counts["images"] != expected:
            found = counts["images"]
            raise RuntimeError(f"{self.folder.path}: rows of {found} images, not of {expected}")
        return counts

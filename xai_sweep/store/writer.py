"""Collects the rows of one cell and writes them shard by shard."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xai_sweep.store.cell_folder import CellFolder
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.sharing.lease import LeaseLostError

# A shard is written after this time even if it is small: what a killed job loses at most.
_SECONDS = 300.0

log = logging.getLogger(__name__)


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
    _lost: bool = False

    def __post_init__(self) -> None:
        if self.folder.lease is not None:
            self.folder.lease.there = len(self.done)

    def add(
        self, image_id: str, rows: Sequence[Mapping[str, Any]], drawing: Heatmaps | None
    ) -> None:
        """Take all rows of one image, and its heatmaps if they are to be kept."""
        if image_id in self.done or self._lost:
            return
        self._images += 1
        if self.folder.lease is not None:
            self.folder.lease.images += 1
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
            try:
                self.folder.write(rows, kept)
            except LeaseLostError as lost:
                log.warning("%s; this job goes on without it", lost)
                self._lost = True
        self._since = time.monotonic()

    def close(self, expected: int) -> dict[str, int]:
        """Write the rest.

        Returns:
            Counts for the manifest, see `CellFolder.counts`.

        Raises:
            LeaseLostError: another job has taken over, and will complete the cell.
            RuntimeError: the cell does not hold every image; it must not be declared complete.
        """
        self.flush()
        if self.folder.lease is not None:
            self.folder.lease.check()
        counts = self.folder.counts()
        if counts["images"] != expected:
            found = counts["images"]
            raise RuntimeError(f"{self.folder.path}: rows of {found} images, not of {expected}")
        return counts

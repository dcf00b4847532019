"""Collects the rows of one cell and writes them shard by shard."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xai_sweep.core.columns import Column
from xai_sweep.store.cell_folder import CellFolder
from xai_sweep.store.entries import Entries
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.schema import FIXED, table
from xai_sweep.store.sharing.lease import LeaseLostError

# A shard is written after this time even if it is small: what a killed job loses at most.
_SECONDS = 300.0

log = logging.getLogger(__name__)


@dataclass
class CellWriter:
    """Buffers the rows of a cell, and writes a shard when there are enough images.

    Attributes:
        folder: the cell, after `CellFolder.begin`.
        done: images whose rows exist already; further rows of theirs are ignored.
        constants: the columns of the spine that are equal in every row of the cell.
        columns: those beyond the spine that the cell has.
        shard_images: images per shard.
        keep_worst: keep the heatmaps of so many images per shard; None for all that are given.
        metrics: the resolved configuration of each metric entry that the columns come from.
    """

    folder: CellFolder
    done: frozenset[str]
    constants: Mapping[str, Any]
    columns: Sequence[Column]
    shard_images: int
    keep_worst: int | None
    metrics: Entries = field(default_factory=dict)
    _rows: list[Mapping[str, Any]] = field(default_factory=list, init=False)
    _heatmaps: list[Heatmaps] = field(default_factory=list, init=False)
    _images: int = field(default=0, init=False)
    _since: float = field(default_factory=time.monotonic, init=False)
    _lost: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._names = FIXED | {column.name for column in self.columns}
        if self.folder.lease is not None:
            self.folder.lease.there = len(self.done)

    def add(
        self, image_id: str, rows: Sequence[Mapping[str, Any]], heatmaps: Heatmaps | None
    ) -> None:
        """Take the rows of one image, of all draws and ranks.

        Args:
            image_id: name of the image.
            rows: what is not constant. They may hold columns that this cell does not have, which
                are left out.
            heatmaps: those to keep, if any.
        """
        if image_id in self.done or self._lost:
            return
        self._images += 1
        if self.folder.lease is not None:
            self.folder.lease.images += 1
        for row in rows:
            own = {name: value for name, value in row.items() if name in self._names}
            self._rows.append({**self.constants, **own})
        if heatmaps is not None:
            self._heatmaps.append(heatmaps)
            if self.keep_worst is not None and len(self._heatmaps) > 2 * self.keep_worst:
                self._heatmaps = [Heatmaps.concatenate(self._heatmaps).worst(self.keep_worst)]
        late = time.monotonic() - self._since > _SECONDS
        if self._images >= self.shard_images or late:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered as a shard."""
        rows, heatmaps = self._rows, self._heatmaps
        # Emptied first: if writing is interrupted, a second flush must not write them twice.
        self._rows, self._heatmaps, self._images = [], [], 0
        if rows:
            kept = Heatmaps.concatenate(heatmaps) if heatmaps else None
            if kept is not None and self.keep_worst is not None:
                kept = kept.worst(self.keep_worst)
            try:
                self.folder.write(table(rows, self.columns, self.metrics), kept)
            except LeaseLostError as lost:
                log.warning("%s; this job goes on without it", lost)
                self._lost = True
        self._since = time.monotonic()

    def close(self, expected: int) -> dict[str, int]:
        """Write the rest.

        Args:
            expected: how many images the cell must have.

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

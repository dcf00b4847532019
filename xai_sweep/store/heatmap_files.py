"""The files of heatmaps in a cell's folder: one per shard, or one with the worst images."""

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from xai_sweep.store.atomic import replacing
from xai_sweep.store.heatmaps import Heatmaps, worst_of
from xai_sweep.store.shards import is_intact, numbered

WORST = "_heatmaps-worst.npz"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeatmapFiles:
    """The files of heatmaps in the folder of a cell.

    Attributes:
        path: the folder.
    """

    path: Path

    def all(self) -> list[Path]:
        """Every file; an image that is in two of them is the same in both."""
        merged = self.path / WORST
        return [merged, *self.parts()] if merged.exists() else self.parts()

    def parts(self) -> list[Path]:
        """Those that were written with a shard."""
        return numbered(self.path.glob("_heatmaps-*.npz"))

    def of(self, shard: Path) -> Path:
        """The name of the file that belongs to a shard."""
        return self.path / f"_heatmaps{shard.stem.removeprefix('rows')}.npz"

    def orphans(self, images: Set[str]) -> list[Path]:
        """Parts that are damaged, or of other images than these."""
        return [
            part
            for part in self.parts()
            if not images >= (Heatmaps.images_of(part) or {"damaged, and no image"})
        ]

    def have_shards(self) -> bool:
        """Whether every part has its shard beside it."""
        return all(
            (self.path / f"rows{part.stem.removeprefix('_heatmaps')}.parquet").exists()
            for part in self.parts()
        )

    def remove_damaged(self, images: Set[str]) -> None:
        """Remove parts that are damaged or of other images, and a damaged merged file."""
        for part in self.orphans(images):
            part.unlink(missing_ok=True)
        if not is_intact(self.path / WORST):
            log.warning("%s is damaged: its heatmaps are lost", self.path / WORST)
            (self.path / WORST).unlink(missing_ok=True)

    def remove_if_elsewhere(self, shards: Sequence[Path]) -> None:
        """Remove the files of some shards whose images are all in other files too."""
        old = {self.of(shard) for shard in shards}
        new = {name for file in self.all() if file not in old for name in _images(file)}
        for part in old:
            if part.exists() and new >= _images(part):
                part.unlink()

    def merge(self, count: int) -> None:
        """Merge all files into one with the worst images."""
        # The merged file is complete before its parts go. If the process dies in between, the
        # next merge takes it in beside the parts that are left, and each image counts once.
        worst = worst_of(self.all(), count)
        if worst is None:
            return
        with replacing(self.path / WORST) as file:
            worst.save(file)
        for part in self.parts():
            part.unlink()


def _images(file: Path) -> set[str]:
    return Heatmaps.images_of(file) or set()

"""The folder of one cell: numbered shards, heatmaps beside them, and the manifest, written last."""

import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xai_sweep.store.atomic import TEMPORARY, read_json, replacing, write_json
from xai_sweep.store.heatmaps import Heatmaps, worst_of
from xai_sweep.store.schema import SCHEMA_VERSION, conforming, metric_columns, table
from xai_sweep.store.shards import (
    damaged_shards,
    described,
    image_ids,
    is_intact,
    listed_shards,
    number,
    numbered,
)
from xai_sweep.store.sharing.lease import Lease, LeaseLostError

MANIFEST = "_manifest.json"
WORST = "_heatmaps-worst.npz"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellFolder:
    """The folder of one cell: `begin`, `write` as often as needed, `finish`.

    The process may die at any moment: `begin` says which images need not be computed again.

    Attributes:
        path: the folder.
        lease: what keeps other jobs from writing here. Without one nothing does. Its name is part
            of the names of the shards that are written under it, so that a job that has lost it
            without knowing overwrites nothing, and what it still writes is told apart. When it
            is lost, `write` and `finish` raise `LeaseLostError`.
        writers: how many processes of one job `write` at the same time.
        writer: which of them this is; each has shard numbers of its own.
    """

    path: Path
    lease: Lease | None = None
    writers: int = 1
    writer: int = 0
    _accepted: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def every(self, writers: int, writer: int) -> "CellFolder":
        """The same folder for one of several processes that write into it at the same time."""
        return replace(self, writers=writers, writer=writer)

    def shards(self) -> list[Path]:
        """The shards that are there, listed in a manifest or not."""
        return numbered(self.path.glob("rows-*.parquet"))

    def heatmap_files(self) -> list[Path]:
        """The files of heatmaps; an image that is in two of them is the same in both."""
        merged = self.path / WORST
        return [merged, *self._parts()] if merged.exists() else self._parts()

    def manifest(self) -> dict[str, object] | None:
        """The manifest if the cell is complete, else None.

        Complete means: there is a manifest of this schema version, and every shard that it
        lists is there with the size that it lists.
        """
        manifest = read_json(self.path / MANIFEST)
        if manifest is None or manifest.get("schema") != SCHEMA_VERSION:
            return None
        return None if damaged_shards(self.path, manifest) else manifest

    def begin(self, force: bool = False) -> frozenset[str]:
        """Prepare for writing; from here to `finish` the cell is not complete.

        Removes the manifest, temporary files, shards that cannot be read (with a warning that
        names them), shards with an image that is in another one too, and heatmaps of images
        without rows; with `force` all shards and heatmaps. A cell that is lost is left alone.

        Returns:
            Names of the images whose rows are there.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if self.lease is not None and self.lease.is_lost():
            return frozenset()
        (self.path / MANIFEST).unlink(missing_ok=True)
        stale = list(self.path.glob(TEMPORARY))
        if force:
            stale += [*self.shards(), *self.heatmap_files()]
        for file in stale:
            file.unlink(missing_ok=True)
        done: set[str] = set()
        self._accepted.clear()
        for shard in self.shards():
            images = image_ids(shard) if is_intact(self._heatmaps_of(shard)) else None
            if images is None:
                log.warning("%s is half-written or damaged: its images are computed again", shard)
            if images is None or images & done:
                self.remove(shard)
            else:
                done |= images
                self._accepted.add(shard.name)
        for part in self._without_rows(done):
            part.unlink(missing_ok=True)
        if not is_intact(self.path / WORST):
            log.warning("%s is damaged: its heatmaps are lost", self.path / WORST)
            (self.path / WORST).unlink(missing_ok=True)
        return frozenset(done)

    def write(
        self, rows: pa.Table | Sequence[Mapping[str, object]], heatmaps: Heatmaps | None = None
    ) -> Path:
        """Write the next shard; all rows of an image belong into the same one.

        Args:
            rows: a table with the columns of the schema, or rows as `schema.table` takes them.
            heatmaps: heatmaps of the shard's images, or of some of them.

        Returns:
            The shard.

        Raises:
            ValueError: the rows do not match the schema.
        """
        content = conforming(rows) if isinstance(rows, pa.Table) else table(rows)
        shard = self.next_shard()
        try:
            with self._fenced():
                if heatmaps is not None:
                    with replacing(self._heatmaps_of(shard)) as file:
                        heatmaps.save(file)
                with replacing(shard) as file:
                    pq.write_table(content, file, compression="zstd", write_page_checksum=True)
                    self._check()
        except LeaseLostError:
            self.remove(shard)
            raise
        self._withdraw_if_late(shard)
        return shard

    def next_shard(self) -> Path:
        """The name of a shard that is not there yet."""
        numbers = [number(file) for file in [*self.shards(), *self._parts()]]
        following = max(numbers, default=-1) + 1
        following += (self.writer - following) % self.writers
        owner = f"-{self.lease.owner}" if self.lease else ""
        return self.path / f"rows-{following:05d}{owner}.parquet"

    def unlisted(self) -> list[Path]:
        """The shards of a complete cell that its manifest does not list; they count nothing."""
        manifest = self.manifest()
        if manifest is None:
            return []
        listed = listed_shards(self.path, manifest)
        return [shard for shard in self.shards() if shard not in listed]

    def orphans(self) -> list[Path]:
        """Files of heatmaps that are damaged, or of images without rows."""
        if all(self._shard_of(part).exists() for part in self._parts()):
            return []
        return self._without_rows({name for s in self.shards() for name in image_ids(s) or ()})

    def _without_rows(self, done: Set[str]) -> list[Path]:
        return [
            part
            for part in self._parts()
            if not done >= (Heatmaps.images_of(part) or {"damaged, and no image"})
        ]

    def counts(self) -> dict[str, int]:
        """How many images have rows here, and how many of them failed."""
        images: set[str] = set()
        failed: set[str] = set()
        with self._fenced():
            for shard in self._ours():
                rows = pq.ParquetFile(shard).read(["image_id", "error"])
                images.update(rows["image_id"].to_pylist())
                failed.update(rows.filter(pc.is_valid(rows["error"]))["image_id"].to_pylist())
        return {"images": len(images), "failed": len(failed)}

    def finish(self, manifest: Mapping[str, object], keep_worst: int | None = None) -> None:
        """Declare the cell complete.

        Args:
            manifest: what JSON can hold; `schema`, `rows` and `shards` (name, rows, bytes,
                sha256 of each) are added.
            keep_worst: keep the heatmaps of only so many images, those of highest rmse.
        """
        with self._fenced():
            shards = self._ours()
            self._remove_all_but(shards)
            if keep_worst is not None:
                self._merge_heatmaps(keep_worst)
            found = [pq.read_metadata(shard) for shard in shards]
            rows = [metadata.num_rows for metadata in found]
            columns = [name for metadata in found for name in metadata.schema.names]
            added = {
                "schema": SCHEMA_VERSION,
                "rows": sum(rows),
                "metrics": metric_columns(dict.fromkeys(columns)),
                "shards": [described(shard, n) for shard, n in zip(shards, rows, strict=True)],
            }
            write_json(self.path / MANIFEST, {**manifest, **added}, before=self._check)
        # What a job that had lost the cell wrote meanwhile. From here on such a job sees the
        # manifest, and withdraws by itself.
        self._remove_all_but(shards)

    def _ours(self) -> list[Path]:
        """The shards that `begin` found and those that this lease wrote; without a lease all."""
        if self.lease is None:
            return self.shards()
        end = f"-{self.lease.owner}"
        return [
            shard
            for shard in self.shards()
            if shard.name in self._accepted or shard.stem.endswith(end)
        ]

    def _remove_all_but(self, shards: Sequence[Path]) -> None:
        for shard in set(self.shards()).difference(shards):
            self.remove(shard)

    def _withdraw_if_late(self, shard: Path) -> None:
        """Take a shard back that was written into a cell which another job has completed."""
        if self.lease is None or not self.lease.is_lost():
            return
        manifest = read_json(self.path / MANIFEST)
        # Without a manifest whoever has the cell now decides.
        if manifest is not None and shard not in listed_shards(self.path, manifest):
            self.remove(shard)
        self.lease.check()

    def _check(self) -> None:
        if self.lease is not None:
            self.lease.check()

    @contextmanager
    def _fenced(self) -> Iterator[None]:
        """What fails because another job has taken over fails with `LeaseLostError`."""
        try:
            yield
        except (OSError, ValueError):
            self._check()
            raise

    def remove(self, shard: Path) -> None:
        """Remove a shard and the heatmaps that were written with it."""
        shard.unlink(missing_ok=True)
        self._heatmaps_of(shard).unlink(missing_ok=True)

    def _merge_heatmaps(self, count: int) -> None:
        # The merged file is complete before its parts go. If the process dies in between, the
        # next merge takes it in beside the parts that are left, and each image counts once.
        worst = worst_of(self.heatmap_files(), count)
        if worst is None:
            return
        with replacing(self.path / WORST) as file:
            worst.save(file)
        for part in self._parts():
            part.unlink()

    def _parts(self) -> list[Path]:
        return numbered(self.path.glob("_heatmaps-*.npz"))

    def _heatmaps_of(self, shard: Path) -> Path:
        return self.path / f"_heatmaps{shard.stem.removeprefix('rows')}.npz"

    def _shard_of(self, part: Path) -> Path:
        return self.path / f"rows{part.stem.removeprefix('_heatmaps')}.parquet"

"""The folder of one cell: numbered shards, heatmaps beside them, and the manifest, written last."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xai_sweep.store.atomic import TEMPORARY, read_json, replacing, write_json
from xai_sweep.store.entries import Entries, missing_entries
from xai_sweep.store.heatmap_files import HeatmapFiles
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.manifest import completed
from xai_sweep.store.resuming import leave_out_other_columns, usable_images, write_rows
from xai_sweep.store.schema import SCHEMA_VERSION, conforming
from xai_sweep.store.shards import (
    damaged_shards,
    image_ids_unchecked,
    listed_shards,
    number,
    numbered,
)
from xai_sweep.store.sharing.lease import Lease, LeaseLostError

MANIFEST = "_manifest.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellFolder:
    """The folder of one cell: `begin`, `write` as often as needed, `finish`.

    The process may die at any moment: `begin` says which images need not be computed again. A
    complete cell that lacks metrics is extended the same way; it stays complete as it was until
    `finish` has replaced its manifest.

    Attributes:
        path: the folder.
        lease: what keeps other jobs from writing here; None if nothing does. Its name is part of
            the names of the shards that are written under it, so that a job that has lost it
            without knowing overwrites nothing, and what it still writes can be recognised. Once
            it is lost, `write` and `finish` raise `LeaseLostError`.
        writers: how many processes of one job `write` at the same time.
        writer: which of them this is; each has shard numbers of its own.
    """

    path: Path
    lease: Lease | None = None
    writers: int = 1
    writer: int = 0
    # Names of shards that `begin` found: those that count, and those that `finish` replaces.
    _accepted: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    _replaced: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def every(self, writers: int, writer: int) -> "CellFolder":
        """The same folder for one of several processes that write into it at the same time."""
        return replace(self, writers=writers, writer=writer)

    def shards(self) -> list[Path]:
        """The shards that exist, listed in a manifest or not."""
        return numbered(self.path.glob("rows-*.parquet"))

    @property
    def heatmaps(self) -> HeatmapFiles:
        """The files of heatmaps beside the shards."""
        return HeatmapFiles(self.path)

    def manifest(self) -> dict[str, Any] | None:
        """The manifest if the cell is complete, else None.

        Complete means: there is a manifest of this schema version, and every shard that it
        lists exists with the size that it lists.
        """
        manifest = read_json(self.path / MANIFEST)
        if manifest is None or manifest.get("schema") != SCHEMA_VERSION:
            return None
        return None if damaged_shards(self.path, manifest) else manifest

    def missing(self, wanted: Entries) -> set[str] | None:
        """The wanted metric entries that a complete cell lacks.

        Args:
            wanted: resolved configuration by name of the entry.

        Returns:
            Their names; None if the cell is not complete.

        Raises:
            InputError: an entry was computed with another configuration.
        """
        manifest = self.manifest()
        if manifest is None:
            return None
        return missing_entries(self.path.name, manifest["metrics"], wanted)

    def union(self, wanted: Entries, force: bool = False) -> dict[str, Any]:
        """The entries to compute so that the cell has the wanted ones and loses none.

        Args:
            wanted: as for `missing`.
            force: the cell is computed anew, so that another configuration is no conflict.

        Raises:
            InputError: an entry was computed with another configuration.
        """
        held = (self.manifest() or {}).get("metrics", {})
        if not force:
            missing_entries(self.path.name, held, wanted)
        return {**held, **wanted}

    def begin(
        self,
        metrics: Entries | None = None,
        columns: Collection[str] | None = None,
        *,
        force: bool = False,
    ) -> frozenset[str]:
        """Prepare for writing.

        Removes temporary files, shards that cannot be read or lack something (with a warning that
        names them), shards with an image that is in another one too, and heatmaps of images
        without rows; with `force` all shards and heatmaps. Unless the cell is complete and only
        lacks metrics, the manifest goes too, and the cell is not complete until `finish`. A cell
        whose lease is lost is left alone.

        Args:
            metrics: the metric entries that every shard must hold in this configuration, see
                `union`; None for those that it holds.
            columns: the columns beyond the spine that every shard has in the end; None for those
                that it has.
            force: accept nothing that exists.

        Returns:
            Names of the images whose rows exist and count.

        Raises:
            RuntimeError: the cell is complete and holds further metric entries.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if self.lease is not None and self.lease.is_lost():
            return frozenset()
        self._accepted.clear()
        self._replaced.clear()
        wanted = dict(metrics or {})
        if metrics is not None and not force:
            self._check_nothing_is_lost(wanted)
        kept = None if force else self._to_extend(wanted)
        if kept is None:
            (self.path / MANIFEST).unlink(missing_ok=True)
        else:
            self._replaced.update(shard.name for shard in kept)
        stale = list(self.path.glob(TEMPORARY))
        if force:
            stale += [*self.shards(), *self.heatmaps.all()]
        for file in stale:
            file.unlink(missing_ok=True)
        done: set[str] = set()
        for shard in self.shards():
            if shard.name not in self._replaced:
                self._accept(shard, done, wanted, columns)
        listed = {name for shard in kept or () for name in image_ids_unchecked(shard)}
        self.heatmaps.remove_damaged(done | listed)
        return frozenset(done)

    def _check_nothing_is_lost(self, wanted: Entries) -> None:
        held = (self.manifest() or {}).get("metrics", {}).keys()
        if lost := sorted(held - wanted.keys()):
            raise RuntimeError(f"{self.path}: would lose {', '.join(lost)}, which it holds by now")

    def _to_extend(self, wanted: Entries) -> list[Path] | None:
        """The shards of a complete cell that lacks wanted entries; None if it is no such cell."""
        manifest = self.manifest()
        if manifest is None or not wanted.keys() - manifest["metrics"].keys():
            return None
        return list(listed_shards(self.path, manifest))

    def _accept(
        self, shard: Path, done: set[str], metrics: Entries, columns: Collection[str] | None
    ) -> None:
        """Count the images of a shard as done, or remove it."""
        images = usable_images(shard, self.heatmaps.of(shard), metrics, set(columns or ()))
        if images is None or images & done:
            self.remove(shard)
            return
        if columns is not None:
            leave_out_other_columns(shard, metrics, set(columns))
        done |= images
        self._accepted.add(shard.name)

    def write(self, rows: pa.Table, heatmaps: Heatmaps | None = None) -> Path:
        """Write the next shard; all rows of an image belong into the same one.

        Args:
            rows: see `xai_sweep.store.schema.table`.
            heatmaps: heatmaps of the shard's images, or of some of them.

        Returns:
            The shard.

        Raises:
            ValueError: the rows do not match the schema.
        """
        content = conforming(rows)
        shard = self.next_shard()
        try:
            with self._fenced():
                if heatmaps is not None:
                    with replacing(self.heatmaps.of(shard)) as file:
                        heatmaps.save(file)
                with replacing(shard) as file:
                    write_rows(content, file)
                    self._check()
        except LeaseLostError:
            self.remove(shard)
            raise
        self._withdraw_if_late(shard)
        return shard

    def next_shard(self) -> Path:
        """The name of a shard that does not exist yet."""
        numbers = [number(file) for file in [*self.shards(), *self.heatmaps.parts()]]
        following = max(numbers, default=-1) + 1
        following += (self.writer - following) % self.writers
        owner = f"-{self.lease.owner}" if self.lease else ""
        return self.path / f"rows-{following:05d}{owner}.parquet"

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
        """Declare the cell complete; what an extension replaces goes after that.

        Args:
            manifest: see `xai_sweep.store.manifest.manifest`, and `completed` for what is added.
            keep_worst: keep the heatmaps of only so many images, those of highest rmse.

        Raises:
            RuntimeError: the shards do not all have the same columns.
        """
        with self._fenced():
            shards = self._ours()
            self._remove_all_but([*shards, *(self.path / name for name in self._replaced)])
            if keep_worst is not None:
                self.heatmaps.merge(keep_worst)
            content = completed(manifest, shards)
            write_json(self.path / MANIFEST, content, before=self._check)
        self._remove_replaced()
        # What a job that had lost the cell wrote meanwhile. From here on such a job sees the
        # manifest, and withdraws.
        self._remove_all_but(shards)

    def _ours(self) -> list[Path]:
        """The shards that `begin` accepted and those written since; without a lease all new."""
        shards = [shard for shard in self.shards() if shard.name not in self._replaced]
        if self.lease is None:
            return shards
        end = f"-{self.lease.owner}"
        return [
            shard for shard in shards if shard.name in self._accepted or shard.stem.endswith(end)
        ]

    def _remove_all_but(self, shards: Sequence[Path]) -> None:
        for shard in set(self.shards()).difference(shards):
            self.remove(shard)

    def _remove_replaced(self) -> None:
        """Remove what was extended; its heatmaps only where newer files have them too."""
        old = [self.path / name for name in self._replaced]
        self.heatmaps.remove_if_elsewhere(old)
        for shard in old:
            shard.unlink(missing_ok=True)
        self._replaced.clear()

    def _withdraw_if_late(self, shard: Path) -> None:
        """Take a shard back that was written into a cell which another job has completed."""
        if self.lease is None or not self.lease.is_lost():
            return
        manifest = read_json(self.path / MANIFEST)
        # Without a manifest the job that has the cell now decides.
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
        self.heatmaps.of(shard).unlink(missing_ok=True)

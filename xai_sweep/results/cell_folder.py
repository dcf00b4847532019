"""The folder of one cell: numbered shards, heatmaps beside them, and the manifest, written last."""

import hashlib
import logging
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xai_sweep.results.atomic import TEMPORARY, read_json, replacing, write_json
from xai_sweep.results.heatmaps import Heatmaps, worst_of
from xai_sweep.results.schema import SCHEMA_VERSION, conforming, table

MANIFEST = "_manifest.json"
WORST = "_heatmaps-worst.npz"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellFolder:
    """The folder of one cell: `begin`, `write` as often as needed, `finish`.

    The process may die at any moment: `begin` says which images need not be computed again.

    Attributes:
        path: the folder.
        writers: how many processes `write` at the same time.
        writer: which of them this is; each has shard numbers of its own.
    """

    path: Path
    writers: int = 1
    writer: int = 0

    def every(self, writers: int, writer: int) -> "CellFolder":
        """The same folder for one of several processes that write into it at the same time."""
        return replace(self, writers=writers, writer=writer)

    def shards(self) -> list[Path]:
        """The shards that are there, listed in a manifest or not."""
        return _numbered(self.path.glob("rows-*.parquet"))

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
        names them) and heatmaps without their shard; with `force` all shards and heatmaps.

        Returns:
            Names of the images whose rows are there.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / MANIFEST).unlink(missing_ok=True)
        stale = list(self.path.glob(TEMPORARY))
        if force:
            stale += [*self.shards(), *self.heatmap_files()]
        for file in stale:
            file.unlink()
        done: set[str] = set()
        for shard in self.shards():
            heatmaps = self._heatmaps_of(shard)
            images = image_ids(shard) if _is_intact(heatmaps) else None
            if images is None:
                log.warning("%s is half-written or damaged: its images are computed again", shard)
                shard.unlink()
            else:
                done |= images
        kept = {self._heatmaps_of(shard) for shard in self.shards()}
        for part in self._parts():
            if part not in kept:
                part.unlink()
        if not _is_intact(self.path / WORST):
            log.warning("%s is damaged: its heatmaps are lost", self.path / WORST)
            (self.path / WORST).unlink()
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
        numbers = [_number(file) for file in [*self.shards(), *self._parts()]]
        number = max(numbers, default=-1) + 1
        number += (self.writer - number) % self.writers
        shard = self.path / f"rows-{number:05d}.parquet"
        if heatmaps is not None:
            with replacing(self._heatmaps_of(shard)) as file:
                heatmaps.save(file)
        with replacing(shard) as file:
            pq.write_table(content, file, compression="zstd", write_page_checksum=True)
        return shard

    def counts(self) -> dict[str, int]:
        """How many images have rows here, and how many of them failed."""
        images: set[str] = set()
        failed: set[str] = set()
        for shard in self.shards():
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
        if keep_worst is not None:
            self._merge_heatmaps(keep_worst)
        shards = self.shards()
        rows = [pq.read_metadata(shard).num_rows for shard in shards]
        added = {
            "schema": SCHEMA_VERSION,
            "rows": sum(rows),
            "shards": [_described(shard, n) for shard, n in zip(shards, rows, strict=True)],
        }
        write_json(self.path / MANIFEST, {**manifest, **added})

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
        return _numbered(self.path.glob("_heatmaps-*.npz"))

    def _heatmaps_of(self, shard: Path) -> Path:
        return self.path / f"_heatmaps-{_number(shard):05d}.npz"


def image_ids(shard: Path) -> set[str] | None:
    """The images of a shard; None if any part of it is damaged."""
    try:
        rows = pq.ParquetFile(shard, page_checksum_verification=True).read()
    except (OSError, ValueError):
        return None
    return set(rows["image_id"].to_pylist()) if "image_id" in rows.column_names else None


def listed_shards(folder: Path, manifest: Mapping[str, object]) -> dict[Path, int]:
    """The shards that a manifest lists, with their sizes in bytes."""
    shards = manifest["shards"]
    assert isinstance(shards, list)
    return {folder / shard["name"]: shard["bytes"] for shard in shards}


def damaged_shards(folder: Path, manifest: Mapping[str, object]) -> list[Path]:
    """The listed shards that are not there with the listed size."""
    sizes = listed_shards(folder, manifest)
    return [shard for shard, size in sizes.items() if _size(shard) != size]


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None


def _is_intact(heatmaps: Path) -> bool:
    """Whether an npz file is readable to its end, or there is none."""
    try:
        with zipfile.ZipFile(heatmaps) as archive:
            return archive.testzip() is None
    except FileNotFoundError:
        return True
    except (OSError, zipfile.BadZipFile):
        return False


def _number(file: Path) -> int:
    return int(file.stem.rpartition("-")[2])


def _numbered(files: Iterable[Path]) -> list[Path]:
    ours = [file for file in files if file.stem.rpartition("-")[2].isdecimal()]
    return sorted(ours, key=_number)


def _described(shard: Path, rows: int) -> dict[str, object]:
    content = shard.read_bytes()
    return {
        "name": shard.name,
        "rows": rows,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }

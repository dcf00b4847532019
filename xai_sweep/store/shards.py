"""Files of a cell: their names, whether they are intact, and how a manifest describes them."""

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def image_ids(shard: Path) -> set[str] | None:
    """The images of a shard; None if any part of it is damaged."""
    try:
        rows = pq.ParquetFile(shard, page_checksum_verification=True).read()
    except (OSError, ValueError):
        return None
    return set(rows["image_id"].to_pylist()) if "image_id" in rows.column_names else None


def image_ids_unchecked(shard: Path) -> set[str]:
    """The images of a shard, without a look at its other columns."""
    return set(pq.ParquetFile(shard).read(["image_id"])["image_id"].to_pylist())


def shard_schema(shard: Path) -> pa.Schema:
    """The columns of a shard and its metadata.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    return pq.read_schema(shard)


def listed_shards(folder: Path, manifest: Mapping[str, object]) -> dict[Path, int]:
    """The shards that a manifest lists, with their sizes in bytes."""
    shards = manifest["shards"]
    assert isinstance(shards, list)
    return {folder / shard["name"]: shard["bytes"] for shard in shards}


def damaged_shards(folder: Path, manifest: Mapping[str, object]) -> list[Path]:
    """The listed shards that do not exist with the listed size."""
    sizes = listed_shards(folder, manifest)
    return [shard for shard, size in sizes.items() if _size(shard) != size]


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None


def is_intact(heatmaps: Path) -> bool:
    """Whether an npz file is readable to its end, or there is none."""
    try:
        with zipfile.ZipFile(heatmaps) as archive:
            return archive.testzip() is None
    except FileNotFoundError:
        return True
    except (OSError, zipfile.BadZipFile):
        return False


def number(file: Path) -> int:
    """The number in the name of a shard, or of a file of heatmaps."""
    return int(file.stem.split("-")[1])


def numbered(files: Iterable[Path]) -> list[Path]:
    """Those files that have a number, in order of it."""
    ours = [file for file in files if file.stem.split("-")[1].isdecimal()]
    return sorted(ours, key=lambda file: (number(file), file.name))


def described(shard: Path, rows: int) -> dict[str, object]:
    """How a manifest describes a shard."""
    with shard.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": shard.name, "rows": rows, "bytes": shard.stat().st_size, "sha256": sha256}

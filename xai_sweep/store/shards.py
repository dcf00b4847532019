"""Files of a cell: their names, whether they are whole, and what a manifest says of them."""

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow.parquet as pq


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
    """Those files that have a number, in its order."""
    ours = [file for file in files if file.stem.split("-")[1].isdecimal()]
    return sorted(ours, key=lambda file: (number(file), file.name))


def described(shard: Path, rows: int) -> dict[str, object]:
    """What a manifest says of a shard."""
    with shard.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": shard.name, "rows": rows, "bytes": shard.stat().st_size, "sha256": sha256}

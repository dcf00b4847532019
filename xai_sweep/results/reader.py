"""Stored rows and heatmaps, read back; nothing here knows torch."""

import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from xai_sweep.errors import InputError
from xai_sweep.results.atomic import read_json
from xai_sweep.results.cell_folder import (
    MANIFEST,
    CellFolder,
    damaged_shards,
    image_ids,
    listed_shards,
)
from xai_sweep.results.heatmaps import Heatmaps
from xai_sweep.results.schema import SCHEMA_VERSION, VERSION_KEY, metric_columns, schema
from xai_sweep.results.store import CELLS, MARKER, check_version

Filters: TypeAlias = Sequence[tuple[str, str, object]] | ds.Expression

# With these a column has the same type whether or not an image failed.
_NULLABLE = {pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}

_RECOMPUTE = "delete it and run the same command again, which computes what is missing"


def load(
    path: str | Path,
    columns: Sequence[str] | None = None,
    filters: Filters | None = None,
    *,
    unfinished: bool = False,
) -> pd.DataFrame:
    """The rows of finished cells.

    Args:
        path: a results folder, the folder of one cell, or one parquet file.
        columns: only these, in this order; by default all of `xai_sweep.results.schema`.
        filters: only rows for which all of ``[(column, operator, value), ...]`` hold, operators
            as in `pandas.read_parquet`; or a pyarrow expression. Files that cannot hold such rows
            are not read.
        unfinished: also the rows that unfinished cells have so far.

    Returns:
        One row per image x magnitude x rank; nullable integers and booleans have the pandas types
        `Int32` and `boolean`. A metric that one cell has and another has not is NaN there.

    Raises:
        InputError: nothing there, no rows, a column that does not exist, another schema version,
            or a damaged shard.
    """
    path = Path(path)
    shards = [path] if path.is_file() and path.suffix == ".parquet" else _shards(path, unfinished)
    unified = schema(list(dict.fromkeys(name for shard in shards for name in _metrics(shard))))
    _check_columns("columns", columns or (), unified)
    if isinstance(filters, Sequence):
        _check_columns("filters", [name for name, *_ in filters], unified)
        filters = pq.filters_to_expression(list(filters)) if filters else None
    scan = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    layout = ds.ParquetFileFormat(default_fragment_scan_options=scan)
    data = ds.dataset([str(shard) for shard in shards], schema=unified, format=layout)
    try:
        rows = data.to_table(columns=None if columns is None else list(columns), filter=filters)
    except (OSError, ValueError):
        if damaged := next((shard for shard in shards if image_ids(shard) is None), None):
            raise _damaged(damaged, _RECOMPUTE) from None
        raise
    frame: pd.DataFrame = rows.to_pandas(types_mapper=_NULLABLE.get)
    return frame


def manifests(path: str | Path) -> list[dict[str, object]]:
    """The manifests of the finished cells of a results folder, or of the one cell.

    Raises:
        InputError: nothing there, another schema version, or a damaged shard.
    """
    return list(finished_cells(path).values())


def finished_cells(path: str | Path) -> dict[Path, dict[str, object]]:
    """The folders of the finished cells of a results folder, or of the one cell; their manifests.

    Raises:
        InputError: nothing there, another schema version, or a damaged shard.
    """
    return {cell: _manifest(cell) for cell in _cells(Path(path)) if (cell / MANIFEST).exists()}


def heatmaps(cell: str | Path, image_ids: Collection[str] | None = None) -> Heatmaps | None:
    """The heatmaps kept in the folder of a cell; None if there are none.

    Args:
        cell: the folder.
        image_ids: only these images; files are read one at a time, so that few images of many
            cost little memory.

    Raises:
        InputError: there is no such folder, or a damaged file in it.
    """
    parts = []
    for part in heatmap_parts(cell):
        if image_ids is not None:
            part = part.select([i for i, name in enumerate(part.image_id) if name in image_ids])
        parts.append(part)
    parts = [part for part in parts if len(part)]
    return Heatmaps.concatenate(parts) if parts else None


def heatmap_parts(cell: str | Path) -> Iterator[Heatmaps]:
    """The heatmaps kept in the folder of a cell, file by file; an image may come twice.

    Raises:
        InputError: there is no such folder, or a damaged file in it.
    """
    if not Path(cell).is_dir():
        raise InputError("path", cell, "the folder of a cell; there is no such folder")
    for file in CellFolder(Path(cell)).heatmap_files():
        yield _heatmaps(file)


def _cells(path: Path) -> list[Path]:
    """The cell folders under a results folder, or the cell folder itself."""
    if not path.is_dir():
        raise InputError("path", path, "a results folder, a cell or a shard (.parquet)")
    if (path / MANIFEST).exists() or CellFolder(path).shards():
        return [path]
    check_version("path", path, path / MARKER)
    return sorted(cell for cell in (path / CELLS).glob("*") if cell.is_dir())


def _shards(path: Path, unfinished: bool) -> list[Path]:
    cells = _cells(path)
    finished = [cell for cell in cells if (cell / MANIFEST).exists()]
    shards = [shard for cell in finished for shard in listed_shards(cell, _manifest(cell))]
    if unfinished:
        rest = [cell for cell in cells if cell not in set(finished)]
        shards += [shard for cell in rest for shard in CellFolder(cell).shards()]
    if not shards:
        begun = len(cells) - len(finished)
        hint = f"; {begun} unfinished: unfinished=True reads them" if begun else ""
        raise InputError("path", path, f"a folder with rows; it has no finished cell{hint}")
    return shards


def _manifest(cell: Path) -> dict[str, object]:
    check_version("path", cell, cell / MANIFEST)
    manifest = read_json(cell / MANIFEST)
    if manifest is None:
        raise _damaged(cell / MANIFEST, _RECOMPUTE)
    if damaged := damaged_shards(cell, manifest):
        raise _damaged(damaged[0], _RECOMPUTE)
    return manifest


def _metrics(shard: Path) -> list[str]:
    try:
        found = pq.read_schema(shard)
    except (OSError, ValueError):
        raise _damaged(shard, _RECOMPUTE) from None
    version = (found.metadata or {}).get(VERSION_KEY, b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise InputError(
            "path", shard, f"rows of schema version {SCHEMA_VERSION}; it holds version {version}"
        )
    return metric_columns(found.names)


def _heatmaps(file: Path) -> Heatmaps:
    try:
        return Heatmaps.load(file)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise _damaged(file, "run the same command again with force=true") from None


def _check_columns(key: str, names: Sequence[str], unified: pa.Schema) -> None:
    if unknown := [name for name in names if name not in unified.names]:
        raise InputError(key, unknown[0], f"one of {', '.join(unified.names)}")


def _damaged(file: Path, cure: str) -> InputError:
    return InputError("path", file, f"a complete file; this one is half-written or damaged: {cure}")

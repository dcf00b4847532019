"""Stored rows, heatmaps and manifests, read back; torch is not needed."""

import functools
import operator
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from xai_sweep.core.errors import InputError
from xai_sweep.store.atomic import read_json
from xai_sweep.store.cell_folder import MANIFEST, CellFolder
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.schema import CONSTANT
from xai_sweep.store.shards import damaged_shards, image_ids, listed_shards
from xai_sweep.store.store import CELLS, MARKER, check_version
from xai_sweep.store.uniting import fields_of_manifest, fields_of_shard, united

Filters: TypeAlias = Sequence[tuple[str, str, object]] | ds.Expression

# With these a column has the same type whether or not an image failed.
_NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}

_DISK = LocalFileSystem()

_RECOMPUTE = "delete it and run the same command again, which computes what is missing"


def load(
    path: str | Path | Sequence[str | Path],
    columns: Sequence[str] | None = None,
    filters: Filters | None = None,
    *,
    unfinished: bool = False,
) -> pd.DataFrame:
    """The rows of finished cells.

    Args:
        path: a results folder, the folder of one cell, one parquet file; or several of them.
        columns: only these, in this order; by default the spine (`xai_sweep.store.schema.SPINE`)
            and every column of a metric or explainer that any cell has.
        filters: only rows for which all of ``[(column, operator, value), ...]`` hold, operators
            as in `pandas.read_parquet`; or a pyarrow expression. Files that cannot hold such rows
            are not read.
        unfinished: also the rows that unfinished cells have so far.

    Returns:
        One row per image x magnitude x draw x rank. Integers and booleans that may be missing have
        the pandas types `Int32` and `boolean`. A column that one cell has and another has not is
        NaN there.

    Raises:
        InputError: no such path, no rows, a column that does not exist or has different types in
            two cells, another schema version, or a damaged shard.
    """
    paths = [Path(each) for each in ([path] if isinstance(path, str | Path) else path)]
    while True:
        sources = [source for each in paths for source in _sources(each, unfinished)]
        try:
            return _read(sources, columns, filters)
        except (InputError, OSError):
            # Shards may have been merged or replaced between listing and reading.
            if [source for each in paths for source in _sources(each, unfinished)] == sources:
                raise


def manifests(path: str | Path) -> list[dict[str, Any]]:
    """The manifests of the finished cells of a results folder, or of the one cell.

    Raises:
        InputError: no such path, another schema version, or a damaged shard.
    """
    return list(finished_cells(path).values())


def finished_cells(path: str | Path) -> dict[Path, dict[str, Any]]:
    """The folders of the finished cells of a results folder, or of the one cell; their manifests.

    Raises:
        InputError: no such path, another schema version, or a damaged shard.
    """
    return {cell: _manifest(cell) for cell in _cells(Path(path)) if (cell / MANIFEST).exists()}


def units(path: str | Path) -> dict[str, str]:
    """The unit of the magnitudes of every question in a results folder, or in one cell.

    Raises:
        InputError: no such path, another schema version, or a damaged shard.
    """
    return {
        str(content["question"]): str(content["unit"])
        for content in manifests(path)
        if "question" in content
    }


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
    for file in CellFolder(Path(cell)).heatmaps.all():
        yield _heatmaps(file)


def _cells(path: Path) -> list[Path]:
    """The cell folders under a results folder, or the cell folder itself."""
    if not path.is_dir():
        raise InputError("path", path, "a results folder, a cell or a shard (.parquet)")
    if (path / MANIFEST).exists() or CellFolder(path).shards():
        return [path]
    check_version("path", path, path / MARKER)
    return sorted(cell for cell in (path / CELLS).glob("*") if cell.is_dir())


@dataclass(frozen=True)
class _Source:
    """A shard to read.

    Attributes:
        path: the file.
        fields: its columns beyond the spine; None if they have to be read from the file.
        known: columns that have one value in all of its rows.
    """

    path: Path
    fields: tuple[pa.Field, ...] | None = None
    known: tuple[tuple[str, object], ...] = ()

    def columns(self) -> Sequence[pa.Field]:
        """Its columns beyond the spine."""
        if self.fields is not None:
            return self.fields
        try:
            return fields_of_shard(self.path)
        except InputError:
            raise
        except (OSError, ValueError):
            raise _damaged(self.path, _RECOMPUTE) from None

    def fragment(self, layout: ds.ParquetFileFormat) -> ds.Fragment:
        """The file for pyarrow, with what a filter can know without opening it."""
        facts = [pc.field(name) == value for name, value in self.known]
        partition = functools.reduce(operator.and_, facts) if facts else None
        return layout.make_fragment(str(self.path), _DISK, partition_expression=partition)


def _read(
    sources: Sequence[_Source], columns: Sequence[str] | None, filters: Filters | None
) -> pd.DataFrame:
    unified = united(
        (each.path if each.fields is None else each.path.parent, each.columns()) for each in sources
    )
    _check_columns("columns", columns or (), unified)
    if isinstance(filters, Sequence):
        _check_columns("filters", [name for name, *_ in filters], unified)
        filters = pq.filters_to_expression(list(filters)) if filters else None
    scan = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    layout = ds.ParquetFileFormat(default_fragment_scan_options=scan)
    fragments = [each.fragment(layout) for each in sources]
    data = ds.FileSystemDataset(fragments, unified, layout, _DISK)
    try:
        rows = data.to_table(columns=None if columns is None else list(columns), filter=filters)
    except (OSError, ValueError):
        if damaged := next((each.path for each in sources if image_ids(each.path) is None), None):
            raise _damaged(damaged, _RECOMPUTE) from None
        raise
    frame: pd.DataFrame = rows.to_pandas(types_mapper=_NULLABLE.get)
    complete = [field for field in rows.schema if not field.nullable and field.type in _NULLABLE]
    return frame.astype({field.name: field.type.to_pandas_dtype() for field in complete})


def _sources(path: Path, unfinished: bool) -> list[_Source]:
    if path.is_file() and path.suffix == ".parquet":
        return [_Source(path)]
    cells = _cells(path)
    finished = {cell: _manifest(cell) for cell in cells if (cell / MANIFEST).exists()}
    sources = []
    for cell, manifest in finished.items():
        known = tuple((name, manifest[name]) for name in CONSTANT if name in manifest)
        fields = tuple(fields_of_manifest(manifest))
        sources += [_Source(shard, fields, known) for shard in listed_shards(cell, manifest)]
    if unfinished:
        rest = [cell for cell in cells if cell not in finished]
        sources += [_Source(shard) for cell in rest for shard in CellFolder(cell).shards()]
    if not sources:
        begun = len(cells) - len(finished)
        hint = f"; {begun} unfinished: unfinished=True reads them" if begun else ""
        raise InputError("path", path, f"a folder with rows; it has no finished cell{hint}")
    return sources


def _manifest(cell: Path) -> dict[str, Any]:
    check_version("path", cell, cell / MANIFEST)
    manifest = read_json(cell / MANIFEST)
    if manifest is None:
        raise _damaged(cell / MANIFEST, _RECOMPUTE)
    if damaged := damaged_shards(cell, manifest):
        if read_json(cell / MANIFEST) != manifest:  # its shards have just been merged
            return _manifest(cell)
        raise _damaged(damaged[0], _RECOMPUTE)
    return manifest


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

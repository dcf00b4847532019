"""The results folder: shards of rows, one folder per cell, nothing lost and nothing half there.

    results/_xai_sweep.json                        marker with the schema version
    results/cells/<cell>/rows-00000-<lease>.parquet     shards, and the lease that wrote each
    results/cells/<cell>/_heatmaps-00000-<lease>.npz    heatmaps written with that shard, optional
    results/cells/<cell>/_lease-00001.json              who computes the cell, while someone does
    results/cells/<cell>/_manifest.json                 written last: the cell is complete

All that is no row begins with an underscore, so that the folder reads as one parquet data set.
"""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from xai_sweep import __version__
from xai_sweep.core.errors import InputError
from xai_sweep.store.atomic import read_json, write_json
from xai_sweep.store.cell_folder import MANIFEST, CellFolder
from xai_sweep.store.schema import SCHEMA_VERSION
from xai_sweep.store.sharing.lease import Lease

MARKER = "_xai_sweep.json"
CELLS = "cells"


@dataclass(frozen=True)
class Store:
    """A results folder, made if it is not there.

    Attributes:
        root: the folder.
        leases: those that this job has, by cell; see `xai_sweep.store.sharing.turns`.

    Raises:
        InputError: it cannot be written, or holds results of another schema version.
    """

    root: Path
    leases: dict[str, Lease] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        cells, marker = self.root / CELLS, self.root / MARKER
        try:
            cells.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root), tempfile.TemporaryFile(dir=cells):
                pass  # permission bits do not tell: only writing shows that a file can be written
            check_version("results", self.root, marker)
            if read_json(marker) is None:
                for manifest in cells.glob(f"*/{MANIFEST}"):
                    check_version("results", self.root, manifest)
                write_json(marker, {"schema": SCHEMA_VERSION, "written_by": __version__})
        except OSError as error:
            why = error.strerror or str(error)
            raise InputError(
                "results", self.root, f"a folder that can be written ({why.lower()})"
            ) from error

    def cell(self, name: str) -> CellFolder:
        """The folder of one cell; nothing is made yet.

        Raises:
            InputError: it holds results of another schema version.
        """
        folder = CellFolder(self.root / CELLS / name, self.leases.get(name))
        check_version("results", self.root, folder.path / MANIFEST)
        return folder


def opened(path: str | Path) -> Path:
    """A results folder that is there, to look at or to tidy up.

    Raises:
        InputError: it is none, or holds results of another schema version.
    """
    path = Path(path)
    if not (path / CELLS).is_dir() or read_json(path / MARKER) is None:
        raise InputError("path", path, f"a results folder; there is no {MARKER} in it")
    check_version("path", path, path / MARKER)
    return path


def cell_folders(results: Path) -> list[CellFolder]:
    """The cells of a results folder, in order of their names.

    Raises:
        InputError: one of them is of another schema version.
    """
    with os.scandir(results / CELLS) as entries:
        folders = sorted(Path(entry) for entry in entries if entry.is_dir())
    for folder in folders:
        check_version("path", results, folder / MANIFEST)
    return [CellFolder(folder) for folder in folders]


def check_version(key: str, path: Path, file: Path) -> None:
    """Refuse a marker or a manifest of another schema version; one that is not there is fine.

    Raises:
        InputError: `key=path`, with both versions.
    """
    content = read_json(file)
    if content is not None and content.get("schema") != SCHEMA_VERSION:
        raise InputError(
            key,
            path,
            f"a folder of schema version {SCHEMA_VERSION}, which this program writes and reads; "
            f"{file.name} says version {content.get('schema')}: choose another folder",
        )

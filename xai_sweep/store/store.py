"""The results folder: shards of rows, one folder per cell, nothing lost and nothing half there.

    results/_xai_sweep.json                        marker with the schema version
    results/cells/<cell>/rows-00000-<lease>.parquet     shards, named after their lease too
    results/cells/<cell>/_heatmaps-00000-<lease>.npz    heatmaps written with that shard, optional
    results/cells/<cell>/_lease-00001.json              which job computes the cell
    results/cells/<cell>/_manifest.json                 written last: the cell is complete

Whatever is not a row begins with an underscore, so that the folder reads as one parquet data set.
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
    """A results folder, made if it does not exist.

    Attributes:
        root: the folder.
        leases: those that this job holds, by cell; see `xai_sweep.store.sharing.turns`.

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
                pass  # only writing shows that files can be written, permission bits do not
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
        """The folder of one cell, which need not exist.

        Raises:
            InputError: it holds results of another schema version.
        """
        folder = CellFolder(self.root / CELLS / name, self.leases.get(name))
        check_version("results", self.root, folder.path / MANIFEST)
        return folder


def opened(path: str | Path) -> Path:
    """An existing results folder.

    Raises:
        InputError: there is none, or it holds results of another schema version.
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
    """Refuse a marker or a manifest of another schema version; one that does not exist is fine.

    Raises:
        InputError: `key=path`, with both versions.
    """
    content = read_json(file)
    if content is not None and content.get("schema") != SCHEMA_VERSION:
        raise InputError(key, path, other_version(f"{file.name} has", content.get("schema")))


def other_version(what: str, found: object) -> str:
    """What is allowed in place of results of another schema version, and what to do with them."""
    return (
        f"must hold results of schema version {SCHEMA_VERSION}, and {what} version {found}: "
        "nothing was changed; choose another folder, or read this one with the xai_sweep that "
        "wrote it"
    )

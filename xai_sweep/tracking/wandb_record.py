"""Everything that W&B is to show of a job, as a file that is written without W&B."""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xai_sweep.store.atomic import read_json, write_json

RECORD = "wandb_run.json"
KEPT = ".kept"  # suffix of kept parquet files
MAGNITUDE = "magnitude"  # the x axis of every curve
WANDB = "wandb"  # the folder beside the record, named by W&B
COMPLETE = "complete.json"


@dataclass
class Record:
    """A W&B run before it is one; all values are plain JSON.

    Attributes:
        id: of the run, so that a second upload replaces the first.
        project, name, group, tags, config: of the run.
        upload: whether it is uploaded as soon as the job ends, or only by `xai-sweep wandb-sync`.
        host, pid: where the job runs.
        started, finished: seconds since 1970; `finished` is None as long as the job runs.
        exit_code: None as long as the job runs.
        columns, lines: the table with a line per magnitude.
        figures: paths of pictures by name.
        rows: the folder that holds the parquet files to send; None if none are to be sent.
    """

    id: str
    project: str
    name: str | None
    group: str | None
    tags: list[str]
    upload: bool
    started: float
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    config: dict[str, Any] = field(default_factory=dict)
    finished: float | None = None
    exit_code: int | None = None
    columns: list[str] = field(default_factory=list)
    lines: list[list[Any]] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)
    rows: str | None = None

    @classmethod
    def read(cls, path: Path) -> "Record | None":
        """The record in a file; None if it is missing, or no record."""
        content = read_json(path)
        try:
            return None if content is None else cls(**content)  # type: ignore[arg-type]
        except TypeError:
            return None

    def write(self, folder: Path) -> Path:
        """Write it into a folder, completely or not at all."""
        write_json(folder / RECORD, asdict(self))
        return folder / RECORD

    @property
    def metrics(self) -> list[str]:
        """The columns behind the magnitude that hold numbers; those before it are settings."""
        first = self.columns.index(MAGNITUDE) + 1 if MAGNITUDE in self.columns else 0
        return [
            name
            for at, name in enumerate(self.columns)
            if at >= first and any(isinstance(line[at], int | float) for line in self.lines)
        ]

    def ended(self) -> bool | None:
        """Whether the job has ended; None if it runs, or was killed, on another machine."""
        if self.exit_code is not None:
            return True
        if self.host != socket.gethostname():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


def plain(values: Mapping[str, object]) -> dict[str, Any]:
    """Values as JSON has them; anything else becomes text."""
    return dict(json.loads(json.dumps(values, default=str)))


def metric_key(transform: str, metric: str) -> str:
    """The name of a summary's column in W&B: below the transform, whatever its parameters."""
    return f"{transform.partition('(')[0]}/{metric}"


def run_file(path: Path) -> Path | None:
    """The complete W&B file made from a record; None if there is none yet."""
    folder = path.parent / WANDB
    file = next(folder.glob("offline-run-*/run-*.wandb"), None)
    return file if (folder / COMPLETE).exists() else None


def is_uploaded(path: Path) -> bool:
    """Whether W&B has confirmed the run; the marker is its own."""
    file = run_file(path)
    return file is not None and file.with_name(f"{file.name}.synced").exists()

"""All that W&B is to be told of a job, as a file that needs no W&B to be written."""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xai_sweep.store.atomic import read_json, write_json

RECORD = "wandb_run.json"
KEPT = ".kept"  # what the names of kept parquet files end with
MAGNITUDE = "magnitude"  # the x axis of every curve
WANDB = "wandb"  # the folder beside it, named by W&B
COMPLETE = "complete.json"


@dataclass
class Record:
    """A W&B run before it is one; all values are plain JSON.

    Attributes:
        id: of the run, so that uploading it twice is uploading it once.
        project, name, group, tags, config: of the run.
        upload: whether it goes up as soon as the job is over, or only when asked for.
        host, pid: where the job runs.
        started, finished: seconds since 1970; `finished` is None as long as the job runs.
        exit_code: likewise.
        columns, lines: the table with a line per magnitude.
        figures: paths of pictures by name.
        rows: the folder that holds the parquet files to send; None if none were asked for.
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
        """The columns that hold numbers, but for the magnitude."""
        return [
            name
            for at, name in enumerate(self.columns)
            if name != MAGNITUDE and any(isinstance(line[at], int | float) for line in self.lines)
        ]

    def ended(self) -> bool | None:
        """Whether the job is over; None if it runs, or was killed, where nobody here can see."""
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
    """As JSON knows it; what it does not know becomes text."""
    return dict(json.loads(json.dumps(values, default=str)))


def metric_key(transform: str, metric: str) -> str:
    """What a column of the summary is called in W&B: below the transform, whatever its keys."""
    return f"{transform.partition('(')[0]}/{metric}"


def run_file(path: Path) -> Path | None:
    """The complete W&B file that was made of a record; None if there is none yet."""
    folder = path.parent / WANDB
    file = next(folder.glob("offline-run-*/run-*.wandb"), None)
    return file if (folder / COMPLETE).exists() else None


def is_up(path: Path) -> bool:
    """Whether W&B has confirmed the run; the marker is its own."""
    file = run_file(path)
    return file is not None and file.with_name(f"{file.name}.synced").exists()

"""A Weights & Biases run per job, uploaded by a process beside the sweep."""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.tracking.base import Logger, NullTracker, Tracker
from xai_sweep.tracking.wandb_background import background
from xai_sweep.tracking.wandb_login import logged_in
from xai_sweep.tracking.wandb_record import KEPT, RECORD, Record, plain

log = logging.getLogger(__name__)

MODES = ("auto", "online", "offline")
_LONGEST_TAG = 64  # characters; W&B refuses longer ones


@dataclass(frozen=True)
class Wandb(Logger):
    """A Weights & Biases run per job.

    Attributes:
        project: name of the W&B project.
        mode: `auto` uploads if the user is logged in. The environment variable `WANDB_MODE` takes
            precedence.
        images: send pictures too.
        artifact: send the parquet files too.
        name, group: of the run; W&B makes up a name if there is none.
        tags: of the run, beside one for each axis.

    Raises:
        InputError: unknown mode.
    """

    project: str = "xai_sweep"
    mode: str = "auto"
    images: bool = True
    artifact: bool = False
    name: str | None = None
    group: str | None = None
    tags: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError("logger.mode", self.mode, f"one of {', '.join(MODES)}")

    @override
    def start(
        self,
        folder: Path,
        name: str | None = None,
        group: str | None = None,
        axes: Mapping[str, str] | None = None,
    ) -> Tracker:
        """Open a run.

        Raises:
            InputError: `online` without being logged in.
        """
        mode = os.environ.get("WANDB_MODE") or self.mode
        if mode == "disabled":
            return NullTracker()
        if mode == "online" and not logged_in():
            raise InputError("logger.mode", mode, "log in first (`wandb login`), or use offline")
        # A job that is queued again into the same folder is the same run.
        before = Record.read(folder / RECORD)
        shutil.rmtree(folder / "wandb", ignore_errors=True)
        axes = axes or {}
        record = Record(
            id=before.id if before else uuid4().hex[:8],
            project=self.project,
            name=self.name or name,
            group=self.group or group,
            tags=[*self.tags, *(f"{axis}:{entry}"[:_LONGEST_TAG] for axis, entry in axes.items())],
            upload=mode == "online" or (mode == "auto" and logged_in()),
            started=time.time(),
            config={"axes": dict(axes)},
        )
        return WandbTracker(record, folder, images=self.images, artifact=self.artifact)


class WandbTracker(Tracker):
    """Writes a record of the job; a process beside this one uploads it."""

    def __init__(self, record: Record, folder: Path, *, images: bool, artifact: bool) -> None:
        self._record, self._folder = record, folder
        self._images, self._artifact = images, artifact
        self._write()

    @property
    @override
    def location(self) -> str:
        return str(self._folder)

    @override
    def config(self, config: Mapping[str, object]) -> None:
        with _kept_going("keep the configuration"):
            self._record.config = plain(config) | self._record.config
        self._write()

    @override
    def summary(self, table: pd.DataFrame) -> None:
        with _kept_going("keep the summary"):
            if "question" in table and len(table):
                (question,) = table["question"].unique()  # others must not share its averages
                self._record.config["question"] = str(question)
            self._record.columns = [str(name) for name in table.columns]
            # W&B knows None, and not the missing values of pandas.
            cells = table.sort_values("magnitude").astype(object).where(table.notna(), None)
            self._record.lines = [
                [value.item() if isinstance(value, np.generic) else value for value in line]
                for line in cells.itertuples(index=False)
            ]

    @override
    def figure(self, name: str, path: Path) -> None:
        if self._images:
            self._record.figures[name] = str(path.absolute())

    @override
    def rows(self, folders: Sequence[Path]) -> None:
        if not self._artifact:
            return
        with _kept_going("keep the rows"):
            # Hard links cost no space and outlive compaction.
            kept = self._folder / "rows"
            shutil.rmtree(kept, ignore_errors=True)
            for folder in folders:
                (kept / folder.name).mkdir(parents=True, exist_ok=True)
                for shard in folder.glob("*.parquet"):
                    # A reader of results/**/*.parquet must not find the rows twice.
                    _link(shard, kept / folder.name / f"{shard.name}{KEPT}")
            self._record.rows = str(kept.absolute())

    @override
    def finish(self, exit_code: int = 0) -> None:
        self._record.exit_code, self._record.finished = exit_code, time.time()
        with _kept_going("keep the run"):
            try:
                self._record.write(self._folder)
            except OSError as error:
                full, self._folder = self._folder, Path(tempfile.mkdtemp(prefix="xai_sweep-"))
                self._record.write(self._folder)
                with suppress(OSError):
                    (full / RECORD).unlink()  # it describes a job that still runs
                log.warning("W&B run kept in %s: %s", self._folder, error)
            background.submit(self._folder / RECORD)

    def _write(self) -> None:
        with _kept_going("keep the run"):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._record.write(self._folder)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


@contextmanager
def _kept_going(what: str) -> Iterator[None]:
    """Turn any error into a warning: logging must not cost a job its rows."""
    try:
        yield
    except Exception as error:
        log.warning("W&B could not %s: %s: %s", what, type(error).__name__, error)

"""The contract of every logger, and the one that keeps nothing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from typing_extensions import override


class Tracker(ABC):
    """The open log of one job; nothing that it does can fail the job."""

    @property
    @abstractmethod
    def location(self) -> str:
        """A folder or an address; empty if nothing is kept."""

    @abstractmethod
    def config(self, config: Mapping[str, object]) -> None:
        """Keep the resolved configuration."""

    @abstractmethod
    def summary(self, table: pd.DataFrame) -> None:
        """Keep a table of one question with a row per magnitude, see `xai_sweep.results.summary`.

        Call it once.
        """

    @abstractmethod
    def figure(self, name: str, path: Path) -> None:
        """Keep a picture, a PNG file."""

    @abstractmethod
    def rows(self, folders: Sequence[Path]) -> None:
        """Keep the parquet files of these cells, if the logger is configured to."""

    @abstractmethod
    def finish(self, exit_code: int = 0) -> None:
        """Close the log; a code other than 0 marks the job as failed."""


class Logger(ABC):
    """A way of logging with its settings."""

    @abstractmethod
    def start(
        self,
        folder: Path,
        name: str | None = None,
        group: str | None = None,
        axes: Mapping[str, str] | None = None,
    ) -> Tracker:
        """Open the log of one job.

        Args:
            folder: all of its files lie here; it is made, and belongs to this log alone.
            name: what the job computes, unless the logger has a name of its own.
            group: the sweep that it belongs to, likewise.
            axes: the job's value on each axis of the grid, e.g. ``{"model": "vgg16"}``.
        """


@dataclass(frozen=True)
class NoLogger(Logger):
    """Nothing is kept besides the results themselves."""

    @override
    def start(
        self,
        folder: Path,
        name: str | None = None,
        group: str | None = None,
        axes: Mapping[str, str] | None = None,
    ) -> Tracker:
        return NullTracker()


class NullTracker(Tracker):
    """Keeps nothing."""

    @property
    @override
    def location(self) -> str:
        return ""

    @override
    def config(self, config: Mapping[str, object]) -> None:
        pass

    @override
    def summary(self, table: pd.DataFrame) -> None:
        pass

    @override
    def figure(self, name: str, path: Path) -> None:
        pass

    @override
    def rows(self, folders: Sequence[Path]) -> None:
        pass

    @override
    def finish(self, exit_code: int = 0) -> None:
        pass

"""The contract of every logger, and the one that keeps nothing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd


class Tracker(ABC):
    """The open log of one job; nothing that it does can fail the job."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Where a person finds it: a folder or an address; empty if nowhere."""

    @abstractmethod
    def config(self, config: Mapping[str, object]) -> None:
        """Keep the resolved configuration."""

    @abstractmethod
    def summary(self, table: pd.DataFrame) -> None:
        """Keep a table with a row per magnitude, see `xai_sweep.results.summary`; call it once."""

    @abstractmethod
    def figure(self, name: str, path: Path) -> None:
        """Keep a picture, a PNG file."""

    @abstractmethod
    def rows(self, folders: Sequence[Path]) -> None:
        """Keep the parquet files of these cells, if the logger was asked to."""

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
            axes: where the job stands on each axis of the grid, e.g. ``{"model": "vgg16"}``.
        """


@dataclass(frozen=True)
class NoLogger(Logger):
    """Nothing beside the results themselves."""

    def start(
        self,
        folder: Path,
        name: str | None = None,
        group: str | None = None,
        axes: Mapping[str, str] | None = None,
    ) -> Tracker:
        """Nothing to open."""
        return NullTracker()


class NullTracker(Tracker):
    """Keeps nothing."""

    @property
    def location(self) -> str:
        """Nowhere."""
        return ""

    def config(self, config: Mapping[str, object]) -> None:
        """Nothing."""

    def summary(self, table: pd.DataFrame) -> None:
        """Nothing."""

    def figure(self, name: str, path: Path) -> None:
        """Nothing."""

    def rows(self, folders: Sequence[Path]) -> None:
        """Nothing."""

    def finish(self, exit_code: int = 0) -> None:
        """Nothing."""

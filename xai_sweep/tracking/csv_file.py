"""The summary of a job as a csv file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from xai_sweep.store.atomic import replacing, write_json
from xai_sweep.tracking.base import Logger, Tracker


@dataclass(frozen=True)
class Csv(Logger):
    """`summary.csv` and `config.json` in a folder of the job."""

    def start(
        self,
        folder: Path,
        name: str | None = None,
        group: str | None = None,
        axes: Mapping[str, str] | None = None,
    ) -> Tracker:
        """Make the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        return CsvTracker(folder)


class CsvTracker(Tracker):
    """Two files that every spreadsheet and script reads; pictures lie with the results anyway."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def location(self) -> str:
        """The folder."""
        return str(self._folder)

    def config(self, config: Mapping[str, object]) -> None:
        """`config.json`."""
        write_json(self._folder / "config.json", config)

    def summary(self, table: pd.DataFrame) -> None:
        """`summary.csv`."""
        with replacing(self._folder / "summary.csv") as file:
            table.to_csv(file, index=False)

    def figure(self, name: str, path: Path) -> None:
        """Nothing: the picture is a file already."""

    def rows(self, folders: Sequence[Path]) -> None:
        """Nothing: the rows are files already."""

    def finish(self, exit_code: int = 0) -> None:
        """Nothing: every file is complete."""

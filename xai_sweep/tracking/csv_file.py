"""The summary of a job as a csv file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from typing_extensions import override

from xai_sweep.store.atomic import replacing, write_json
from xai_sweep.tracking.base import Logger, Tracker


@dataclass(frozen=True)
class Csv(Logger):
    """`summary.csv` and `config.json` in a folder of the job."""

    @override
    def start(
        self,
        folder: Path,
        name: str | None = None,
        group: str | None = None,
        axes: Mapping[str, str] | None = None,
    ) -> Tracker:
        folder.mkdir(parents=True, exist_ok=True)
        return CsvTracker(folder)


class CsvTracker(Tracker):
    """Two files that every spreadsheet and script reads; pictures are with the results anyway."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    @override
    def location(self) -> str:
        return str(self._folder)

    @override
    def config(self, config: Mapping[str, object]) -> None:
        write_json(self._folder / "config.json", config)

    @override
    def summary(self, table: pd.DataFrame) -> None:
        with replacing(self._folder / "summary.csv") as file:
            table.to_csv(file, index=False)

    @override
    def figure(self, name: str, path: Path) -> None:
        pass  # the picture is a file already

    @override
    def rows(self, folders: Sequence[Path]) -> None:
        pass  # the rows are files already

    @override
    def finish(self, exit_code: int = 0) -> None:
        pass  # every file is complete

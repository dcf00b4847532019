"""A logger."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from typing_extensions import override

from xai_sweep.tracking.base import Logger, Tracker


@dataclass(frozen=True)
class Lines(Logger):
    """A file in the job's folder with a line of JSON per magnitude.

    Attributes:
        name: of the file.
    """

    name: str = "summary.jsonl"

    @override
    def start(
        self,
        folder: Path,
        name: str | None = None,
        group: str | None = None,
        axes: Mapping[str, str] | None = None,
    ) -> Tracker:
        folder.mkdir(parents=True, exist_ok=True)
        return _LinesTracker(folder / self.name, {"job": name, "sweep": group})


class _LinesTracker(Tracker):
    def __init__(self, file: Path, facts: Mapping[str, str | None]) -> None:
        self._file, self._facts = file, facts

    @property
    @override
    def location(self) -> str:
        return str(self._file)

    @override
    def config(self, config: Mapping[str, object]) -> None:
        pass

    @override
    def summary(self, table: pd.DataFrame) -> None:
        lines = [{**self._facts, **line} for line in table.to_dict("records")]
        text = "".join(f"{json.dumps(line, default=str)}\n" for line in lines)
        self._file.write_text(text)

    @override
    def figure(self, name: str, path: Path) -> None:
        pass

    @override
    def rows(self, folders: Sequence[Path]) -> None:
        pass

    @override
    def finish(self, exit_code: int = 0) -> None:
        pass

"""Fixtures of stored rows, and the command line as a person meets it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from harness import command
from stored import complete, make_heatmaps, make_rows

__all__ = ["complete", "make_heatmaps", "make_rows"]


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def printed(self) -> str:
        return self.out + self.err

    @property
    def both(self) -> tuple[int, str]:
        """Exit code, and all that was printed."""
        return self.code, self.printed

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON document on stdout; anything else there, or a NaN, is an error."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        document = json.loads(self.out, parse_constant=refuse)
        assert isinstance(document, dict)
        return document

    @property
    def cells(self) -> list[list[str]]:
        """The lines of the tables that were printed."""
        lines = self.out.splitlines()
        return [[each.strip() for each in line.split("│")[1:-1]] for line in lines if "│" in line]


Say = Callable[..., Answer]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """`xai-sweep WORDS...`: exit code, and what it prints."""

    def said(*words: object) -> Answer:
        monkeypatch.setenv("COLUMNS", "120")
        capsys.readouterr()
        code = command(*words)
        return Answer(code, *capsys.readouterr())

    return said


@pytest.fixture
def complaint(say: Say) -> Callable[..., str]:
    """The one line on stderr of a command that refuses its words, without `error: `."""

    def complained(*words: object) -> str:
        answer = say(*words)
        assert answer.code == 2
        assert answer.out == ""
        (line,) = answer.err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return complained

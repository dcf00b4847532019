"""What failed in a job is noted, and the rest goes on."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import format_exception
from typing import Any

from xai_sweep.config.messages import USER_ERRORS, told
from xai_sweep.store.failures import Failed, record
from xai_sweep.sweep.packing import OF_THE_SWEEP, Overrides, without
from xai_sweep.sweep.requests import Asked


class Notes:
    """Notes exceptions: a line on stderr, a record in the results folder, a list for the end.

    What ends a program by intent (Ctrl+C, SIGTERM) is none.

    Args:
        sweep: the name of the multirun, or of the single run.
        results: the results folder.
        keeps_going: of a job of a multirun, other than of a single one: an exception is not
            raised again.
        stop: a file that says to all jobs of the multirun that they stop at the first failure;
            None if they go on.
    """

    def __init__(
        self, sweep: str, results: Path, *, keeps_going: bool, stop: Path | None = None
    ) -> None:
        self.failed: list[Failed] = []
        self._sweep, self._results = sweep, results
        self._keeps_going, self._stop = keeps_going, stop
        self._bad: set[str] = set()
        self._told: set[str] = set()

    @property
    def stopped(self) -> bool:
        """Whether nothing more is to be begun."""
        return self._stop is not None and (bool(self.failed) or self._stop.exists())

    def is_bad(self, asked: Asked) -> bool:
        """Whether anything of a curve failed."""
        return asked.curve.name in self._bad

    @contextmanager
    def of_point(self, overrides: Overrides, own: Overrides) -> Iterator[None]:
        """Inside, a point of the grid is to become a curve; `own` is what tells it from others."""
        try:
            yield
        except Exception as error:
            self._note(error, " ".join(own) or "the defaults", [without(OF_THE_SWEEP, overrides)])

    @contextmanager
    def of(self, *curves: Asked) -> Iterator[None]:
        """Inside, something is done for curves; if it fails, it failed for all of them."""
        try:
            yield
        except Exception as error:
            self.add(error, *curves)

    def add(self, error: Exception, *curves: Asked) -> None:
        """An exception is the end of some curves."""
        for asked in curves:
            self._bad.add(asked.curve.name)
            self._note(
                error,
                asked.curve.title,
                asked.overrides,
                asked.curve.name,
                [cell.folder for cell in asked.cells],
                asked.config,
            )

    def _note(
        self,
        error: Exception,
        what: str,
        overrides: Sequence[Overrides],
        curve: str = "",
        cells: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> None:
        is_input = isinstance(error, USER_ERRORS)
        failed = Failed(
            what=what,
            error=told(error),
            is_input=is_input,
            overrides=tuple(overrides),
            curve=curve,
            cells=tuple(cells),
            config=None if config is None else dict(config),
            traceback="".join(format_exception(error)),
            sweep=self._sweep,
        )
        if self._keeps_going or not is_input:
            self._write(failed)
        if not self._keeps_going:
            raise error
        self.failed.append(failed)
        if failed.error not in self._told:
            self._told.add(failed.error)
            print(f"error: {failed.error}", file=sys.stderr)

    def _write(self, failed: Failed) -> None:
        try:
            if self._stop is not None:
                self._stop.touch()
            record(self._results, failed)
        except OSError as error:  # a full disk is often the failure itself
            print(f"warning: no record of a failure: {told(error)}", file=sys.stderr)

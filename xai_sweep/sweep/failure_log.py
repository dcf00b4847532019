"""What fails in a job is recorded, and the rest goes on."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import format_exception
from typing import Any

from xai_sweep.config.messages import USER_ERRORS, with_kind
from xai_sweep.config.points import Overrides
from xai_sweep.store.failures import Failed, record
from xai_sweep.sweep.packing import SWEEP_KEYS, without
from xai_sweep.sweep.requests import RequestedCurve


class FailureLog:
    """Takes exceptions: a line on stderr, a record in the results folder, a list for the end.

    What ends a program on purpose (Ctrl+C, SIGTERM) is no failure.

    Args:
        sweep: the name of the multirun, or of the single run.
        results: the results folder.
        keeps_going: of a job of a multirun, other than of a single one: an exception is not
            raised again.
        stop: a file whose existence makes all jobs of the multirun stop, written at the first
            failure; None if they go on.
        plugins: that the job uses.
        options: see `Job.options`; without either its points cannot be composed again.
    """

    def __init__(
        self,
        sweep: str,
        results: Path,
        *,
        keeps_going: bool,
        stop: Path | None = None,
        plugins: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        self.failed: list[Failed] = []
        self._sweep, self._results = sweep, results
        self._keeps_going, self._stop = keeps_going, stop
        self._plugins, self._options = tuple(plugins), tuple(options)
        self._curves: set[str] = set()
        self._printed: set[str] = set()

    @property
    def stopped(self) -> bool:
        """Whether nothing new may begin."""
        return self._stop is not None and (bool(self.failed) or self._stop.exists())

    def has(self, curve: RequestedCurve) -> bool:
        """Whether anything of a curve failed."""
        return curve.curve.name in self._curves

    @contextmanager
    def point(self, overrides: Overrides, own: Overrides) -> Iterator[None]:
        """Takes what fails while a point of the grid becomes a curve.

        Args:
            overrides: of the point.
            own: those in which it differs from the other points of the job.
        """
        try:
            yield
        except Exception as error:
            what = " ".join(without(SWEEP_KEYS, own)) or "the defaults"
            self._take(error, what, [without(SWEEP_KEYS, overrides)])

    @contextmanager
    def curves(self, *curves: RequestedCurve) -> Iterator[None]:
        """Takes what fails while something is done for curves: it failed for all of them."""
        try:
            yield
        except Exception as error:
            self.add(error, *curves)

    def add(self, error: Exception, *curves: RequestedCurve) -> None:
        """Take an exception that some curves failed with."""
        for each in curves:
            self._curves.add(each.curve.name)
            self._take(
                error,
                each.curve.title,
                each.overrides,
                each.curve.name,
                [cell.folder for cell in each.cells],
                each.config,
            )

    def _take(
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
            error=with_kind(error),
            is_input=is_input,
            overrides=tuple(overrides),
            curve=curve,
            cells=tuple(cells),
            config=None if config is None else dict(config),
            traceback="".join(format_exception(error)),
            sweep=self._sweep,
            plugins=self._plugins,
            options=self._options,
        )
        if self._keeps_going or not is_input:
            self._write(failed)
        if not self._keeps_going:
            raise error
        self.failed.append(failed)
        if failed.error not in self._printed:
            self._printed.add(failed.error)
            print(f"error: {failed.error}", file=sys.stderr)

    def _write(self, failed: Failed) -> None:
        try:
            if self._stop is not None:
                self._stop.touch()
            record(self._results, failed)
        except OSError as error:  # a full disk is often the failure itself
            print(f"warning: no record of a failure: {with_kind(error)}", file=sys.stderr)

"""What a person sees in the terminal at the end of a job, a sweep or a report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xai_sweep.report.content import (
    TableContent,
    failures_error,
    failures_table,
    instability_table,
    load_rows,
    missing_lines,
    outcome_lines,
    summary_table,
)
from xai_sweep.report.pictures import FIGURES, publish_curve, publish_side_by_side
from xai_sweep.statistics.instability import instabilities
from xai_sweep.store.failures import Failed
from xai_sweep.store.reading import manifests


def print_report(results: str | Path, strips: int = 6) -> None:
    """Print the table of every finished cell below a results folder, and plot every curve.

    Args:
        results: the results folder.
        strips: heatmap strips per curve.

    Raises:
        InputError: no such folder, or nothing finished in it.
    """
    folder = Path(results)
    print_summary(load_rows([folder]), _nulls(folder))
    print_instability(instabilities(folder))
    for curve in sorted({str(content["curve"]) for content in manifests(folder)}):
        publish_curve(folder, curve, strips)
    publish_side_by_side(folder)
    print(f"pictures  {folder / FIGURES}")


def print_summary(rows: pd.DataFrame, nulls: Mapping[str, str]) -> None:
    """Print a line per question and magnitude, and which metrics lack numbers.

    Args:
        rows: as `load_rows` gives them.
        nulls: what a missing value of each metric means.
    """
    _print_table(summary_table(rows))
    for line in missing_lines(rows, nulls):
        print(line)


def _nulls(folder: Path) -> dict[str, str]:
    contents = manifests(folder)
    return {name: facts["null"] for each in contents for name, facts in each["columns"].items()}


def print_instability(parts: pd.DataFrame) -> None:
    """Print what the squared differences consist of; nothing if there are no parts."""
    if not parts.empty:
        _print_table(instability_table(parts))


def print_outcome(cells: int, computed: int, places: Mapping[str, object]) -> None:
    """Print what was computed, and where everything was written; see `outcome_lines`."""
    print("\n".join(outcome_lines(cells, computed, places)))


def raise_failures(failed: Sequence[Failed], results: Path, *, stopped: bool) -> None:
    """Print a table of what failed in a multirun, and raise.

    Args:
        failed: what failed, at least one.
        results: the results folder.
        stopped: whether the sweep stopped at the first failure.

    Raises:
        SomeFailedError: always; what to do, in one line.
    """
    _print_table(failures_table(failed), is_error=True)
    raise failures_error(failed, results, stopped=stopped)


def _print_table(content: TableContent, *, is_error: bool = False) -> None:
    table = Table(title=content.title, show_lines=is_error)
    for heading in content.headings:
        if heading.is_number:
            # A number that is cut is another number.
            table.add_column(heading.name, justify="right", no_wrap=True, overflow="fold")
        else:
            table.add_column(heading.name, overflow="fold")
    for index, heading in enumerate(content.headings):
        if heading.is_number:
            texts = [heading.name, *(line[index] for line in content.lines)]
            table.columns[index].min_width = max(map(len, texts))
    for line in content.lines:
        table.add_row(*map(Text, line))
    Console(stderr=is_error).print(table)

"""The same results for a tracker."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from xai_sweep.statistics.images import numbers
from xai_sweep.statistics.summary import summary, valued
from xai_sweep.tracking import Tracker


def publish(
    tracker: Tracker, rows: pd.DataFrame, pictures: Mapping[str, Path], cells: Sequence[Path]
) -> None:
    """Give a tracker the results of one curve.

    Args:
        tracker: where they go.
        rows: the curve's rows.
        pictures: by name.
        cells: the folders of its cells.
    """
    table = summary(rows)
    # Where every image has a number, `images` says how many.
    same = [valued(name) for name in numbers(rows) if table[valued(name)].equals(table["images"])]
    tracker.summary(table.drop(columns=same))
    for name, path in pictures.items():
        tracker.figure(name, path)
    tracker.rows(cells)

"""The same results for a tracker."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from xai_sweep.statistics.summary import summary
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
    tracker.summary(summary(rows))
    for name, path in pictures.items():
        tracker.figure(name, path)
    tracker.rows(cells)

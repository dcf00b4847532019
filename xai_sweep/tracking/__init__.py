"""Where a run is logged: Weights & Biases, a csv file, or nowhere.

A logger is built from a yaml; `start` opens the tracker of one job. A tracker never fails a job:
when W&B is down, slow or raises, a warning says so and the sweep goes on.
"""

from xai_sweep.tracking.base import Logger, NoLogger, NullTracker, Tracker
from xai_sweep.tracking.csv_file import Csv, CsvTracker
from xai_sweep.tracking.wandb_run import Wandb, WandbTracker

__all__ = [
    "Csv",
    "CsvTracker",
    "Logger",
    "NoLogger",
    "NullTracker",
    "Tracker",
    "Wandb",
    "WandbTracker",
]

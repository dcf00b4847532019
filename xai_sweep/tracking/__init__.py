"""Where a run is told about: Weights & Biases, a csv file, or nowhere.

A logger is a value out of a yaml; `start` opens the tracker of one job. Trackers only ever tell:
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

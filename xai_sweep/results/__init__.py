"""Rows, heatmaps and manifests: written by a sweep, read by the analysis; torch is not needed."""

from xai_sweep.results.heatmaps import Heatmaps
from xai_sweep.results.reader import heatmaps, load, manifests
from xai_sweep.results.schema import schema
from xai_sweep.results.split import split, splits
from xai_sweep.results.store import Store
from xai_sweep.results.summary import first_predictions, summary

__all__ = [
    "Heatmaps",
    "Store",
    "first_predictions",
    "heatmaps",
    "load",
    "manifests",
    "schema",
    "split",
    "splits",
    "summary",
]

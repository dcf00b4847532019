"""Rows, heatmaps and manifests: written by a sweep, read by the analysis; torch is not needed."""

from xai_sweep.results.reader import finished_cells, heatmap_parts, heatmaps, load, manifests
from xai_sweep.results.summary import first_predictions, needed_columns, summary
from xai_sweep.statistics.instability import split, splits
from xai_sweep.statistics.submodular_pick import Pick, explanation_matrix, submodular_pick
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.schema import schema
from xai_sweep.store.store import Store

__all__ = [
    "Heatmaps",
    "Pick",
    "Store",
    "explanation_matrix",
    "finished_cells",
    "first_predictions",
    "heatmap_parts",
    "heatmaps",
    "load",
    "manifests",
    "needed_columns",
    "schema",
    "split",
    "splits",
    "submodular_pick",
    "summary",
]

"""What a sweep found: rows, heatmaps, manifests, and statistics over them. Torch is not needed.

These names are public; the rest of the package is not.
"""

from xai_sweep.statistics.instability import instabilities, instability
from xai_sweep.statistics.local_lipschitz import local_lipschitz
from xai_sweep.statistics.missing import without_number
from xai_sweep.statistics.submodular_pick import Pick, explanation_matrix, submodular_pick
from xai_sweep.statistics.summary import first_predictions, needed_columns, summary
from xai_sweep.store.heatmaps import Heatmaps
from xai_sweep.store.reading import finished_cells, heatmap_parts, heatmaps, load, manifests, units

__all__ = [
    "Heatmaps",
    "Pick",
    "explanation_matrix",
    "finished_cells",
    "first_predictions",
    "heatmap_parts",
    "heatmaps",
    "instabilities",
    "instability",
    "load",
    "local_lipschitz",
    "manifests",
    "needed_columns",
    "submodular_pick",
    "summary",
    "units",
    "without_number",
]

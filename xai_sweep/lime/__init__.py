"""The parts of LIME: superpixels, mask designs, masked predictions, the weighted surrogate."""

from xai_sweep.lime.answers import Answers
from xai_sweep.lime.designs import DESIGNS, clusters, independent_rows, masks
from xai_sweep.lime.masked import PRECISIONS, MaskedPredictions, hidden
from xai_sweep.lime.superpixels import (
    SEGMENTATIONS,
    SuperpixelFinder,
    as_photo,
    check_options,
    moved_labels,
)
from xai_sweep.lime.surrogate import Surrogate, fit, proximity

__all__ = [
    "DESIGNS",
    "PRECISIONS",
    "SEGMENTATIONS",
    "Answers",
    "MaskedPredictions",
    "SuperpixelFinder",
    "Surrogate",
    "as_photo",
    "check_options",
    "clusters",
    "fit",
    "hidden",
    "independent_rows",
    "masks",
    "moved_labels",
    "proximity",
]

"""The parts of LIME: parameters, superpixels, designs, masked predictions, weighted surrogate."""

from xai_sweep.explainers.perturbation.surrogates.answers import Answers
from xai_sweep.explainers.perturbation.surrogates.designs import (
    DESIGNS,
    clusters,
    independent_rows,
    masks,
)
from xai_sweep.explainers.perturbation.surrogates.masked import (
    PRECISIONS,
    MaskedPredictions,
    hidden,
)
from xai_sweep.explainers.perturbation.surrogates.parameters import LimeParameters
from xai_sweep.explainers.perturbation.surrogates.superpixels import (
    SEGMENTATIONS,
    SuperpixelFinder,
    as_photo,
    check_options,
    moved_labels,
)
from xai_sweep.explainers.perturbation.surrogates.surrogate import Surrogate, fit, proximity

__all__ = [
    "DESIGNS",
    "PRECISIONS",
    "SEGMENTATIONS",
    "Answers",
    "LimeParameters",
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

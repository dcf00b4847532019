"""The parts of LIME: parameters, designs, masked predictions, weighted surrogate, result."""

from xai_sweep.explainers.perturbation.surrogates.designs import (
    DESIGNS,
    clusters,
    independent_rows,
    masks,
)
from xai_sweep.explainers.perturbation.surrogates.masked import (
    MaskedPredictions,
    Precision,
    hidden,
)
from xai_sweep.explainers.perturbation.surrogates.parameters import LimeParameters
from xai_sweep.explainers.perturbation.surrogates.result import FACTS, LimeResult
from xai_sweep.explainers.perturbation.surrogates.surrogate import Surrogate, fit, proximity

__all__ = [
    "DESIGNS",
    "FACTS",
    "LimeParameters",
    "LimeResult",
    "MaskedPredictions",
    "Precision",
    "Surrogate",
    "clusters",
    "fit",
    "hidden",
    "independent_rows",
    "masks",
    "proximity",
]

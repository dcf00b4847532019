"""The fast forms of the rules: weights prepared once per layer, no multiplication more than needed.

Each gives the numbers of its rule's equation up to rounding; ``test_fast_forms.py`` compares them
at layers of every kind. Importing this package registers them.
"""

from xai_sweep.explainers.relevance.engine.fast.boundary import FlatForm, WSquareForm, ZBoxForm
from xai_sweep.explainers.relevance.engine.fast.elementwise import AbsZForm, PassForm
from xai_sweep.explainers.relevance.engine.fast.factors import FactorForm, Factors
from xai_sweep.explainers.relevance.engine.fast.proportional import EpsilonForm, GammaForm, ZeroForm
from xai_sweep.explainers.relevance.engine.fast.signed import AlphaBetaForm, ZPlusForm

__all__ = [
    "AbsZForm",
    "AlphaBetaForm",
    "EpsilonForm",
    "FactorForm",
    "Factors",
    "FlatForm",
    "GammaForm",
    "PassForm",
    "WSquareForm",
    "ZBoxForm",
    "ZPlusForm",
    "ZeroForm",
]

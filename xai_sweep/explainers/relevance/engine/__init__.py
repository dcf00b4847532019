"""Layer-wise relevance propagation on the captured graph of any CNN.

Read in this order: `rules` (the equations), `layers` and `splits` (how they are computed), `steps`
and `weightless` (every operation, forward and back), `flow`, `fuse` and `choose` (which nodes
have relevance, what is fused, which rule where), `plan` (all of it decided), `propagate` (run),
`compiled` (run faster); `dropout` changes a plan for one draw of Monte-Carlo dropout.
"""

from xai_sweep.explainers.relevance.engine.choose import choices
from xai_sweep.explainers.relevance.engine.compiled import Compiled
from xai_sweep.explainers.relevance.engine.dropout import (
    Dropout,
    linear_dropouts,
    own_dropouts,
    with_masks,
)
from xai_sweep.explainers.relevance.engine.plan import Plan, Wish, make_plan
from xai_sweep.explainers.relevance.engine.presets import preset, presets
from xai_sweep.explainers.relevance.engine.propagate import Propagation, Relevance
from xai_sweep.explainers.relevance.engine.rules import AbsZ, Epsilon, Pass, Rule

__all__ = [
    "AbsZ",
    "Compiled",
    "Dropout",
    "Epsilon",
    "Pass",
    "Plan",
    "Propagation",
    "Relevance",
    "Rule",
    "Wish",
    "choices",
    "linear_dropouts",
    "make_plan",
    "own_dropouts",
    "preset",
    "presets",
    "with_masks",
]

"""Layer-wise relevance propagation on the captured graph of any CNN.

Read in this order: `rules`, the equations, in terms of `contributions`; `forms` and `fast`, how
they are computed; `messages` and `steps`, every operation forward and back; `entries` and
`composite`, which rule applies where; `operations`, `signs`, `flow`, `fuse`, `pixels`,
`weightless` and `plan`, from the graph to the steps; `propagate`, which runs them, and `compiled`,
which runs them faster; `dropout`, which changes a plan for one draw of Monte-Carlo dropout.

A rule of your own is a subclass of `Rule` whose ``redistribute`` is its equation. A list of rules
may name it as soon as its module has been imported.
"""

import xai_sweep.explainers.relevance.engine.fast as _registers_fast_forms  # noqa: F401
from xai_sweep.explainers.relevance.engine.compiled import Compiled
from xai_sweep.explainers.relevance.engine.composite import Composite
from xai_sweep.explainers.relevance.engine.contributions import Shares, Site, distribute
from xai_sweep.explainers.relevance.engine.dropout import (
    Dropout,
    linear_dropouts,
    own_dropouts,
    with_masks,
)
from xai_sweep.explainers.relevance.engine.entries import DEFAULT_RULES, entries
from xai_sweep.explainers.relevance.engine.plan import Plan, make_plan
from xai_sweep.explainers.relevance.engine.propagate import Propagation, Relevance
from xai_sweep.explainers.relevance.engine.rule import InSums, Rule
from xai_sweep.explainers.relevance.engine.rules import AbsZ, Epsilon, Pass

__all__ = [
    "DEFAULT_RULES",
    "AbsZ",
    "Compiled",
    "Composite",
    "Dropout",
    "Epsilon",
    "InSums",
    "Pass",
    "Plan",
    "Propagation",
    "Relevance",
    "Rule",
    "Shares",
    "Site",
    "distribute",
    "entries",
    "linear_dropouts",
    "make_plan",
    "own_dropouts",
    "with_masks",
]

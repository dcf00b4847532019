"""`xai-sweep explainers`: every explainer of the yaml folder, and the facts its class states."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from xai_sweep.config.building import build
from xai_sweep.config.entries import entries
from xai_sweep.config.points import composed
from xai_sweep.explainers import Explainer

FACTS = ("deterministic", "signed", "class-sensitive", "conserves", "needs fit", "control")
RANKS = 4


def explainers(words: Sequence[str] = ()) -> None:
    """Print a line per yaml, with its parameters as they stand there.

    Args:
        words: ``plugins=[...]``, whose explainers are listed too.
    """
    composed(words)
    table = Table(title=f"explainers; cost in forward passes, for {RANKS} targets at 224 pixels")
    table.add_column("explainer", no_wrap=True)
    for name in FACTS:
        table.add_column(name, justify="center")
    table.add_column("cost", justify="right")
    table.add_column("source")
    for name in entries("explainer"):
        explainer: Explainer = build(composed([*words, f"explainer={name}"]).explainer)
        cost = explainer.cost_in_forwards(RANKS)
        facts = (
            explainer.is_deterministic,
            explainer.is_signed,
            explainer.is_class_sensitive,
            explainer.conserves,
            explainer.needs_fit,
            explainer.is_control,
        )
        table.add_row(
            name,
            *["yes" if fact else "-" for fact in facts],
            "varies" if math.isnan(cost) else f"{cost:g}",
            explainer.source,
        )
    # A table that is cut off in a file would hide what it is for.
    console = Console()
    Console(width=None if console.is_terminal else 180).print(table)

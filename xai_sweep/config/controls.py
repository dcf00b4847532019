"""Null explainers, known from the yaml folder, for what must not import torch."""

from xai_sweep.config.entries import entries, written

# Where their classes are.
_ROOM = "xai_sweep.explainers.controls."


def controls() -> tuple[str, ...]:
    """The names of our null explainers, sorted."""
    return tuple(
        name
        for name in entries("explainer")
        if str(written(f"explainer/{name}").get("_target_")).startswith(_ROOM)
    )

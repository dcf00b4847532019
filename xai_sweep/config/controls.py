"""Null explainers, known from the yaml folder, for what must not import torch."""

from functools import cache

from omegaconf import OmegaConf

from xai_sweep.core.paths import CONF

# Where their classes are.
_ROOM = "xai_sweep.explainers.controls."


@cache
def controls() -> tuple[str, ...]:
    """The names of the null explainers, sorted."""
    files = sorted((CONF / "explainer").glob("*.yaml"))
    return tuple(
        file.stem
        for file in files
        if str(OmegaConf.load(file).get("_target_", "")).startswith(_ROOM)
    )


def is_control(explainer: str) -> bool:
    """Whether an explainer as it is named in the rows, parameters included, is a null explainer."""
    return explainer.partition("(")[0] in controls()

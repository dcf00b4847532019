"""LRP's lists of rules by name: the entries of ``explainer/rules``. Imports no torch."""

from copy import deepcopy
from typing import Any

from xai_sweep.config.entries import entries, written
from xai_sweep.core.errors import InputError

_GROUP = "explainer/rules"


def presets() -> list[str]:
    """The names of all presets."""
    return entries(_GROUP)


def preset(name: str) -> list[dict[str, Any]]:
    """The list of rules with this name, as `xai_sweep.explainers.LRP` takes it.

    Raises:
        InputError: there is no such preset.
    """
    if name not in presets():
        raise InputError(_GROUP, name, f"must be one of {', '.join(presets())}")
    rules: list[dict[str, Any]] = deepcopy(written(f"{_GROUP}/{name}")["rules"])
    return rules

"""LRP's lists of rules by name: the files of ``conf/explainer/rules``. Imports no torch."""

from typing import Any

from omegaconf import OmegaConf

from xai_sweep.core.errors import InputError
from xai_sweep.core.paths import CONF

_FOLDER = CONF / "explainer" / "rules"


def presets() -> list[str]:
    """The names of all presets."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def preset(name: str) -> list[dict[str, Any]]:
    """The list of rules with this name, as `xai_sweep.explainers.LRP` takes it.

    Raises:
        InputError: there is no such preset.
    """
    if name not in presets():
        raise InputError("explainer/rules", name, f"must be one of {', '.join(presets())}")
    loaded: Any = OmegaConf.to_container(OmegaConf.load(_FOLDER / f"{name}.yaml"))
    rules: list[dict[str, Any]] = loaded["rules"]
    return rules

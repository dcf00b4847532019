"""Lists of rules by name: the files of ``conf/explainer/rules``."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from xai_sweep.core.errors import InputError
from xai_sweep.core.paths import CONF

FOLDER: Path = CONF / "explainer" / "rules"


def presets() -> list[str]:
    """The names of all presets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def preset(name: str) -> list[dict[str, Any]]:
    """The list of rules with this name.

    Raises:
        InputError: there is none.
    """
    if name not in presets():
        allowed = f"must be a list of rules, or one of {', '.join(presets())}"
        raise InputError("explainer.rules", name, allowed)
    loaded: Any = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))
    rules: list[dict[str, Any]] = loaded["rules"]
    return rules

"""Loading a classifier by the name of its yaml file."""

from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from xai_sweep.core.errors import InputError
from xai_sweep.core.paths import CONF
from xai_sweep.models.classifier import Classifier
from xai_sweep.models.source import ModelSource


def load(source: str | ModelSource, **overrides: Any) -> Classifier:
    """A classifier, loaded once per process; the two that were used last are kept.

    Args:
        source: the name of a file in ``conf/model``, e.g. ``"efficientnet_lite0"``, or a source.
        overrides: fields of the source with other values, e.g. ``weights="random"``.

    Raises:
        InputError: an unknown name or field, or weights that cannot be loaded.
    """
    if isinstance(source, str):
        source = _configured(source, overrides)
    elif overrides:
        source = replace(source, **overrides)  # type: ignore[type-var]  # every source is a dataclass
    return _load(source, tuple(source.identity().items()))


def _configured(name: str, overrides: dict[str, Any]) -> ModelSource:
    names = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
    if name not in names:
        close = get_close_matches(name, names, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError("model", name, f"must be one of {', '.join(names)}{hint}")
    node = OmegaConf.load(CONF / "model" / f"{name}.yaml")
    for key, value in overrides.items():
        if key not in node:
            known = ", ".join(str(known) for known in node if known != "_target_")
            raise InputError(f"model.{key}", value, f"{name} has {known}")
    source: ModelSource = instantiate(node, **overrides)
    return source


@lru_cache(maxsize=2)
def _load(source: ModelSource, identity: tuple[tuple[str, str], ...]) -> Classifier:
    return source.load()

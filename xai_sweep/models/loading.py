"""Loading a classifier by the name of its entry, ours or of an active plugin or folder."""

from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from omegaconf import OmegaConf

from xai_sweep.config.building import build
from xai_sweep.config.entries import complete, entries
from xai_sweep.core.errors import InputError
from xai_sweep.models.checks import examined
from xai_sweep.models.classifier import Classifier, grey_images
from xai_sweep.models.labels import check_count
from xai_sweep.models.layout import faster
from xai_sweep.models.source import ModelSource


def load(source: str | ModelSource, **overrides: Any) -> Classifier:
    """A classifier, loaded and examined once per process; the two used last are kept.

    Args:
        source: the name of an entry of ``model``, e.g. ``"efficientnet_lite0"``, or a source.
        overrides: fields of the source with other values, e.g. ``weights="random"``.

    Raises:
        InputError: an unknown name or field, weights that cannot be loaded, or a network that
            cannot be used, see `xai_sweep.models.checks`, or has another number of classes than
            there are class names.
    """
    if isinstance(source, str):
        source = _configured(source, overrides)
    elif overrides:
        source = replace(source, **overrides)
    return _load(source, tuple(source.identity().items()))


def _configured(name: str, overrides: dict[str, Any]) -> ModelSource:
    names = entries("model")
    if name not in names:
        close = get_close_matches(name, names, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError("model", name, f"must be one of {', '.join(names)}{hint}")
    given, _ = complete(f"model/{name}", {})
    for key, value in overrides.items():
        if key not in given:
            known = ", ".join(known for known in given if known != "_target_")
            raise InputError(f"model.{key}", value, f"{name} has {known}")
    source: ModelSource = build(OmegaConf.create({"model": given | overrides}).model)
    return source


@lru_cache(maxsize=2)
def _load(source: ModelSource, identity: tuple[tuple[str, str], ...]) -> Classifier:
    given = {name: vars(source)[name] for name in ("output", "output_key", "stochastic")}
    classifier = replace(source.load(), **given)
    images = grey_images(classifier)
    classifier = examined(classifier, images)
    if classifier.examined is not None:
        given = vars(source).get("labels", classifier.labels)
        check_count(classifier.labels, given, classifier.examined.classes)
    faster(classifier, images)
    return classifier

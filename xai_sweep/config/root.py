"""The root of the configuration: its keys, their types, and how its entries become objects.

Imports neither torch nor Lightning, so that help and input errors answer at once.
"""

import functools
from dataclasses import dataclass, fields, is_dataclass
from pkgutil import resolve_name
from types import NoneType, UnionType
from typing import Any, cast, get_args

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf

from xai_sweep.core.errors import InputError, unknown_key
from xai_sweep.core.paths import CONF as CONF

_CHOICES = {
    "target": ("class", "rank"),
    "region": ("mask", "rectangle", "none"),
    "keep_heatmaps": ("none", "worst", "all"),
    "device": ("auto", "cpu", "cuda"),
    "on_error": ("continue", "stop"),
}

# Code is only ever called by a name that stands in our own yaml folder.
_TRUSTED = ("xai_sweep.", "pytorch_lightning.")

_IN_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    NoneType: "null",
}


@dataclass
class Root:
    """Every key of `conf/config.yaml` with its type; Hydra refuses any other.

    The meaning of each key stands beside it in `conf/config.yaml`.
    """

    model: Any = MISSING
    data: Any = MISSING
    explainer: Any = MISSING
    magnitude: Any = MISSING
    transform: Any = MISSING
    metric: Any = MISSING
    logger: Any = MISSING
    trainer: Any = MISSING

    seed: int = MISSING
    ranks: int = MISSING
    target: str = MISSING
    region: str = MISSING
    region_of: Any = MISSING

    on_error: str = MISSING
    cells_per_job: Any = MISSING
    pack: Any = MISSING

    results: str = MISSING
    force: bool = MISSING
    keep_heatmaps: str = MISSING
    keep_worst: int = MISSING
    pictures: bool = MISSING
    side_by_side: bool = MISSING
    strips: int = MISSING
    shard_images: int = MISSING
    lease_seconds: float = MISSING

    device: str = MISSING
    batch_size: Any = MISSING
    workers: Any = MISSING


def register() -> None:
    """Make the schema known to Hydra as the first entry of the root's defaults list."""
    ConfigStore.instance().store(name="schema", node=Root)


def check(cfg: DictConfig) -> None:
    """Refuse values that are of the right type and still make no sense.

    Raises:
        InputError: naming the key.
    """
    keys = [field.name for field in fields(Root)]
    for key, value in cfg.items_ex(resolve=False):
        if key not in keys:
            raise unknown_key(str(key), value, keys)
    # An empty list of metrics is a missing one to Hydra.
    if not cfg.get("metric"):
        raise InputError("metric", "[]", "must name at least one metric, e.g. metric=[rmse,ssim]")
    for key in keys:
        if key not in cfg:
            raise InputError(key, "", "is needed and cannot be taken out")
    metrics = entries("metric")
    for name in cfg.metric:
        if name not in metrics:
            raise unknown_key(f"metric.{name}", cfg.metric[name], metrics)
        if not isinstance(cfg.metric[name], DictConfig):
            raise InputError(f"metric.{name}", cfg.metric[name], "must keep the keys of its yaml")
    for key in _inner_groups():
        given = OmegaConf.select(cfg, key)
        if isinstance(given, str):  # its content must be in the key of a cell, not its name
            raise InputError(key, given, f"must be given as {key.replace('.', '/')}={given}")
    for key in _CHOICES:
        _check_choice(cfg, key)
    leasts = {"ranks": 1, "keep_worst": 1, "shard_images": 1, "strips": 0, "lease_seconds": 1}
    for key, least in leasts.items():
        if cfg[key] < least:
            raise InputError(key, cfg[key], f"must be at least {least}")
    check_sweep(cfg)
    if not 0 <= cfg.seed < 2**63:
        raise InputError("seed", cfg.seed, "must be a whole number from 0 to 2^63 - 1")
    for key, least in (("batch_size", 1), ("workers", 0)):
        value = cfg[key]
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= least
        if value != "auto" and not is_count:
            raise InputError(key, value, f"must be auto or a whole number of at least {least}")


def check_sweep(cfg: DictConfig) -> None:
    """Refuse what a multirun could not be cut into jobs by.

    Raises:
        InputError: naming the key.
    """
    _check_choice(cfg, "on_error")
    limit = cfg.cells_per_job
    if limit is not None and (type(limit) is not int or limit < 1):
        allowed = "must be a whole number of at least 1, or null for no limit"
        raise InputError("cells_per_job", limit, allowed)


def _check_choice(cfg: DictConfig, key: str) -> None:
    if cfg[key] not in _CHOICES[key]:
        raise InputError(key, cfg[key], f"must be one of {', '.join(_CHOICES[key])}")


def composed(overrides: list[str]) -> DictConfig:
    """The configuration that a run with these overrides would have."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=overrides)


def entries(group: str) -> list[str]:
    """The names that a group of the configuration takes; none if there is no such group."""
    return [*_entries(group)] if group else []


# A grid asks for the same at each of its points.
@functools.cache
def _entries(group: str) -> tuple[str, ...]:
    return tuple(sorted(file.stem for file in (CONF / group).glob("*.yaml")))


@functools.cache
def _inner_groups() -> tuple[str, ...]:
    """Groups inside of groups, as keys of the configuration: ``explainer.rules``."""
    return tuple(f"{folder.parent.name}.{folder.name}" for folder in CONF.glob("*/*/"))


def in_words(annotation: Any) -> str:
    """What a value of a type is to a person; empty if that takes more than a few words."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    known = all(kind in _IN_WORDS for kind in kinds)
    return " or ".join(_IN_WORDS[kind] for kind in kinds) if known else ""


def build(node: DictConfig, **extra: Any) -> Any:
    """The object that an entry of a group describes.

    Raises:
        InputError: a parameter makes no sense, or the target is not one of ours.
    """
    target = str(node.get("_target_"))
    if not target.startswith(_TRUSTED):
        allowed = f"must begin with {' or '.join(_TRUSTED)}"
        raise InputError(node._get_full_key("_target_"), target, allowed)
    try:
        # Not recursive: a value that names a target of its own stays a value.
        return instantiate(node, **_typed(node), **extra, _recursive_=False, _convert_="all")
    except InstantiationException as error:
        # Hydra wraps what a constructor raises.
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise


def _typed(node: DictConfig) -> dict[str, Any]:
    """The values that had to be converted to the types of the dataclass that a node names.

    Raises:
        InputError: no such class, a key that it does not have, or a value of another type.
    """
    try:
        cls = resolve_name(node._target_)
    except (ImportError, AttributeError, ValueError):
        key = node._get_full_key("_target_")
        raise InputError(key, node._target_, "there is no such class") from None
    if not is_dataclass(cls):
        return {}
    types = {field.name: field.type for field in fields(cls)}
    converted: dict[str, Any] = {}
    for name, value in node.items():
        if name == "_target_":
            continue
        key = node._get_full_key(name)
        if name not in types:
            raise unknown_key(key, value, types)
        kinds = get_args(types[name]) or (types[name],)
        if not in_words(types[name]) or type(value) in kinds:
            continue
        if str in kinds and type(value) in (int, float):  # a folder may be called 2024
            converted[name] = str(value)
        elif float in kinds and type(value) is int:
            converted[name] = float(value)
        else:
            raise InputError(key, value, f"must be {in_words(types[name])}")
    return converted


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A configuration as plain values, interpolations resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))

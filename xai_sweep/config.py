"""The root of the configuration: its keys, their types, and how its entries become objects.

Imports neither torch nor Lightning, so that help and input errors answer at once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf

from xai_sweep.errors import InputError

_PACKAGE = Path(__file__).parent

# An installed wheel carries the yaml folder inside the package; a checkout has it beside it.
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"

_CHOICES = {
    "target": ("class", "rank"),
    "region": ("mask", "rectangle", "none"),
    "keep_heatmaps": ("none", "worst", "all"),
    "device": ("auto", "cpu", "cuda"),
}

# Code is only ever called by a name that stands in our own yaml folder.
_TRUSTED = ("xai_sweep.", "pytorch_lightning.")


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

    results: str = MISSING
    force: bool = MISSING
    keep_heatmaps: str = MISSING
    keep_worst: int = MISSING
    strips: int = MISSING
    shard_images: int = MISSING

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
    for key, allowed in _CHOICES.items():
        if cfg[key] not in allowed:
            raise InputError(key, cfg[key], f"must be one of {', '.join(allowed)}")
    for key, least in (("ranks", 1), ("keep_worst", 1), ("shard_images", 1), ("strips", 0)):
        if cfg[key] < least:
            raise InputError(key, cfg[key], f"must be at least {least}")
    if not 0 <= cfg.seed < 2**63:
        raise InputError("seed", cfg.seed, "must be a whole number from 0 to 2^63 - 1")
    for key, least in (("batch_size", 1), ("workers", 0)):
        value = cfg[key]
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= least
        if value != "auto" and not is_count:
            raise InputError(key, value, f"must be auto or a whole number of at least {least}")
    if not cfg.metric:
        raise InputError("metric", "[]", "must name at least one metric, e.g. metric=[rmse,ssim]")


def build(node: DictConfig, **extra: Any) -> Any:
    """The object that an entry of a group describes.

    Raises:
        InputError: a parameter makes no sense, or the target is not one of ours.
    """
    target = str(node.get("_target_"))
    if not target.startswith(_TRUSTED):
        raise InputError("_target_", target, f"must begin with {' or '.join(_TRUSTED)}")
    try:
        return instantiate(node, **extra)
    except InstantiationException as error:
        # Hydra wraps what a constructor raises.
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A configuration as plain values, interpolations resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))

"""The root of the configuration: its keys, their types, and what a person reads when one is wrong.

Imports neither torch nor Lightning, so that help and input errors answer at once.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, MissingConfigException
from omegaconf import MISSING, DictConfig
from omegaconf.errors import OmegaConfBaseException

from xai_sweep.errors import InputError

_PACKAGE = Path(__file__).parent

# An installed wheel carries the yaml folder inside the package; a checkout has it beside it.
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"

CHOICES = {
    "target": ("class", "rank"),
    "region": ("mask", "rectangle", "none"),
    "keep_heatmaps": ("none", "worst", "all"),
    "device": ("auto", "cpu", "cuda"),
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
    for key, allowed in CHOICES.items():
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


_failures = 0
_main_process = -1


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what the user got wrong into one line on stderr and exit code 2.

    Faults of the program keep their traceback. So does everything if HYDRA_FULL_ERROR=1.
    """
    global _main_process
    _main_process = os.getpid()
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Otherwise Hydra prints several lines and leaves by itself.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except (InputError, HydraException, OmegaConfBaseException, OSError) as error:
        if full:
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    if _failures:
        sys.exit(2)


@contextmanager
def job_errors() -> Iterator[None]:
    """Inside a job: say what the user got wrong, and let the other jobs of this process go on."""
    global _failures
    try:
        yield
    except InputError as error:
        # In a worker process the launcher carries the exception home.
        if os.getpid() != _main_process:
            raise
        print(f"error: {error}", file=sys.stderr)
        _failures += 1


def one_line(error: Exception) -> str:
    """The message of an error of ours, Hydra's or OmegaConf's as one line."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, entry = error.missing_cfg_file.rpartition("/")
        allowed = ", ".join(error.options or ())
        return f"{group}={entry}: must be one of {allowed}"
    if isinstance(error, OmegaConfBaseException):
        text = str(error.msg or error).split("\n")[0]
        return f"{error.full_key}: {text}" if error.full_key else text
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    text = re.sub(r"\s*\n\s*", "; ", str(error).strip())
    cause = error.__cause__
    return f"{text} ({one_line(cause)})" if isinstance(cause, OmegaConfBaseException) else text

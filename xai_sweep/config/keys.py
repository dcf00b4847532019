"""The root keys of the configuration: each declares here, once, its type and what it decides.

Which points of a grid share a job, what is in the key of a cell, which keys appear in names and
which are left out of a recorded point all follow from this declaration.

Imports neither torch nor Lightning, so that help and input errors answer at once.
"""

from collections.abc import Mapping
from dataclasses import field, fields, make_dataclass
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from xai_sweep.config.entries import entries, inner_groups
from xai_sweep.core.errors import InputError, unknown_key
from xai_sweep.core.parameters import checked, parameter_types


class Decides(Enum):
    """What a root key decides.

    The first four decide the numbers. Points of a grid that differ in keys of one level share
    everything that only later levels decide.
    """

    CELL = "which cell of a curve"
    CURVE = "which curve: how images are changed, and how heatmaps are compared"
    CASES = "which cases: the clean images with their predictions and reference heatmaps"
    JOB = "which network: a job loads one"
    COLUMNS = "which columns the rows of a cell have"
    SWEEP = "where a sweep writes, how it is cut into jobs, and what it may import"
    EXECUTION = "how a job runs, and what it shows"


def _key(decides: Decides) -> Any:
    return field(default=MISSING, metadata={"decides": decides})


def _group(decides: Decides, *, entries: Literal["one", "several"] = "one") -> Any:
    return field(default=MISSING, metadata={"decides": decides, "entries": entries})


@dataclass
class Root:
    """Every key of `conf/config.yaml`; Hydra refuses any other.

    The meaning of each key is explained beside it in `conf/config.yaml`.
    """

    model: Any = _group(Decides.JOB)
    explainer: Any = _group(Decides.CASES)
    data: Any = _group(Decides.CASES)
    magnitude: Any = _group(Decides.CELL)
    transform: Any = _group(Decides.CURVE)
    metric: Any = _group(Decides.COLUMNS, entries="several")
    logger: Any = _group(Decides.EXECUTION)
    trainer: Any = _group(Decides.EXECUTION)

    seed: Annotated[int, Ge(0), Lt(2**63)] = _key(Decides.CASES)
    ranks: Annotated[int, Ge(1)] = _key(Decides.CASES)
    target: Literal["class", "rank"] = _key(Decides.CURVE)
    region: Literal["mask", "rectangle", "none"] = _key(Decides.CURVE)
    region_of: Literal["own", "all"] | float | list[float] = _key(Decides.CURVE)
    draws: Annotated[int, Ge(1)] = _key(Decides.CURVE)

    results: str = _key(Decides.SWEEP)
    plugins: list[str] = _key(Decides.SWEEP)
    on_error: Literal["continue", "stop"] = _key(Decides.SWEEP)
    cells_per_job: Annotated[int, Ge(1)] | None = _key(Decides.SWEEP)
    pack: Any = _key(Decides.SWEEP)

    force: bool = _key(Decides.EXECUTION)
    keep_heatmaps: Literal["none", "worst", "all"] = _key(Decides.EXECUTION)
    keep_worst: Annotated[int, Ge(1)] = _key(Decides.EXECUTION)
    pictures: bool = _key(Decides.EXECUTION)
    side_by_side: bool = _key(Decides.EXECUTION)
    strips: Annotated[int, Ge(0)] = _key(Decides.EXECUTION)
    shard_images: Annotated[int, Ge(1)] = _key(Decides.EXECUTION)
    lease_seconds: Annotated[float, Ge(1)] = _key(Decides.EXECUTION)
    device: Literal["auto", "cpu", "cuda"] = _key(Decides.EXECUTION)
    batch_size: Literal["auto"] | Annotated[int, Ge(1)] = _key(Decides.EXECUTION)
    workers: Literal["auto"] | Annotated[int, Ge(0)] = _key(Decides.EXECUTION)


# Points that differ in these alone share their cases,
SAME_CASES = (Decides.CELL, Decides.CURVE, Decides.COLUMNS)
# in these alone the network, and so they may share a job.
SAME_NETWORK = (*SAME_CASES, Decides.CASES)
# These decide the numbers of a curve; the magnitude of each cell comes on top.
OF_A_CURVE = (Decides.CURVE, Decides.CASES, Decides.JOB)


@cache
def keys(*decides: Decides) -> tuple[str, ...]:
    """The root keys that decide any of these, in the order of their declaration."""
    return tuple(each.name for each in fields(Root) if each.metadata["decides"] in decides)


@cache
def groups(*decides: Decides, entries: str | None = None) -> tuple[str, ...]:
    """Those of the keys that are groups of yaml files.

    Args:
        decides: see `keys`; any if there are none.
        entries: only groups that take ``one`` entry, or ``several``.
    """
    return tuple(
        each.name
        for each in fields(Root)
        if "entries" in each.metadata
        and (not decides or each.metadata["decides"] in decides)
        and entries in (None, each.metadata["entries"])
    )


@cache
def values(*decides: Decides) -> tuple[str, ...]:
    """Those of the keys that are plain values."""
    return tuple(name for name in keys(*decides) if name not in groups())


def declared_type(key: str) -> Any:
    """The declared type of a root key, bounds included."""
    return parameter_types(Root)[key]


def add_schema() -> None:
    """Make the schema known to Hydra as the first entry of the root's defaults list."""
    ConfigStore.instance().store(name="schema", node=_schema())


@cache
def _schema() -> type:
    """`Root` with the types that OmegaConf knows; `check` sees to the rest."""
    plain = parameter_types_without_bounds()
    return make_dataclass(
        "Schema", [(name, kind, field(default=MISSING)) for name, kind in plain.items()]
    )


def parameter_types_without_bounds() -> Mapping[str, Any]:
    """The type of each root key as far as OmegaConf knows it, ``Any`` otherwise."""
    kinds = {}
    for name, annotation in parameter_types(Root).items():
        bare = getattr(annotation, "__origin__", annotation)
        kinds[name] = bare if bare in (int, float, bool, str) else Any
    return kinds


def check(cfg: DictConfig) -> None:
    """Check every root key against its declared type.

    Raises:
        InputError: naming the key.
    """
    known = keys(*Decides)
    for key, value in cfg.items_ex(resolve=False):
        if key not in known:
            raise unknown_key(str(key), value, known)
    # To Hydra an empty list of metrics is a missing one.
    if not cfg.get("metric"):
        raise InputError("metric", "[]", "must name at least one metric, e.g. metric=[rmse,ssim]")
    for key in known:
        if key not in cfg:
            raise InputError(key, "", "is needed and cannot be removed")
    _check_several(cfg, "metric")
    for key in inner_groups():
        given = OmegaConf.select(cfg, key)
        if isinstance(given, str):  # its content must be in the key of a cell, not its name
            raise InputError(key, given, f"must be given as {key.replace('.', '/')}={given}")
    for key in values(*Decides):
        _check_value(cfg, key)


def check_sweep(cfg: DictConfig) -> None:
    """Check the keys that a multirun needs before it has any job.

    Raises:
        InputError: naming the key.
    """
    for key in values(Decides.SWEEP):
        _check_value(cfg, key)


def _check_several(cfg: DictConfig, group: str) -> None:
    names = entries(group)
    for name, node in cfg[group].items():
        if name not in names:
            raise unknown_key(f"{group}.{name}", node, names)
        if not isinstance(node, DictConfig):
            raise InputError(f"{group}.{name}", node, "must keep the keys of its yaml")


def _check_value(cfg: DictConfig, key: str) -> None:
    if key == "pack":  # written by the sweeper; interpolations in it belong to other points
        return
    value = cfg[key]
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=True)
    checked(key, value, declared_type(key))

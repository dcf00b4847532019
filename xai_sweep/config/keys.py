"""The root keys of the configuration: each declares here, once, its type and what it decides.

Which points of a grid share a job, what is in the key of a cell, which keys appear in names and
which are left out of a recorded point all follow from this declaration.

Imports neither torch nor Lightning, so that help and input errors answer at once.
"""

from collections.abc import Mapping
from dataclasses import field, make_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

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


class Entries(Enum):
    """How many entries a group of yaml files takes."""

    ONE = "one"
    SEVERAL = "several"


class Root:
    """Every key of `conf/config.yaml`, with its type and what it decides; Hydra refuses any other.

    The meaning of each key is explained beside it in `conf/config.yaml`.
    """

    model: Annotated[Any, Decides.JOB, Entries.ONE]
    explainer: Annotated[Any, Decides.CASES, Entries.ONE]
    data: Annotated[Any, Decides.CASES, Entries.ONE]
    magnitude: Annotated[Any, Decides.CELL, Entries.ONE]
    transform: Annotated[Any, Decides.CURVE, Entries.ONE]
    metric: Annotated[Any, Decides.COLUMNS, Entries.SEVERAL]
    logger: Annotated[Any, Decides.EXECUTION, Entries.ONE]
    trainer: Annotated[Any, Decides.EXECUTION, Entries.ONE]

    seed: Annotated[int, Ge(0), Lt(2**63), Decides.CASES]
    ranks: Annotated[int, Ge(1), Decides.CASES]
    target: Annotated[Literal["class", "rank"], Decides.CURVE]
    region: Annotated[Literal["mask", "rectangle", "none"], Decides.CURVE]
    region_of: Annotated[Literal["own", "all"] | float | list[float], Decides.CURVE]
    draws: Annotated[int, Ge(1), Decides.CURVE]

    results: Annotated[str, Decides.SWEEP]
    plugins: Annotated[list[str], Decides.SWEEP]
    on_error: Annotated[Literal["continue", "stop"], Decides.SWEEP]
    cells_per_job: Annotated[int | None, Ge(1), Decides.SWEEP]
    pack: Annotated[Any, Decides.SWEEP]

    force: Annotated[bool, Decides.EXECUTION]
    keep_heatmaps: Annotated[Literal["none", "worst", "all"], Decides.EXECUTION]
    keep_worst: Annotated[int, Ge(1), Decides.EXECUTION]
    pictures: Annotated[bool, Decides.EXECUTION]
    side_by_side: Annotated[bool, Decides.EXECUTION]
    strips: Annotated[int, Ge(0), Decides.EXECUTION]
    shard_images: Annotated[int, Ge(1), Decides.EXECUTION]
    lease_seconds: Annotated[float, Ge(1), Decides.EXECUTION]
    device: Annotated[Literal["auto", "cpu", "cuda"], Decides.EXECUTION]
    batch_size: Annotated[Literal["auto"] | Annotated[int, Ge(1)], Decides.EXECUTION]
    workers: Annotated[Literal["auto"] | Annotated[int, Ge(0)], Decides.EXECUTION]


# Points that differ in these alone share their cases,
SAME_CASES = (Decides.CELL, Decides.CURVE, Decides.COLUMNS)
# in these alone the network, and so they may share a job.
SAME_NETWORK = (*SAME_CASES, Decides.CASES)
# These decide the numbers of a curve; the magnitude of each cell comes on top.
OF_A_CURVE = (Decides.CURVE, Decides.CASES, Decides.JOB)


@cache
def keys(*decides: Decides) -> tuple[str, ...]:
    """The root keys that decide any of these, in the order of their declaration."""
    return tuple(name for name in parameter_types(Root) if _declared(name, Decides) in decides)


@cache
def groups(*decides: Decides, entries: Entries | None = None) -> tuple[str, ...]:
    """Those of the keys that are groups of yaml files.

    Args:
        decides: see `keys`.
        entries: only groups that take so many entries.
    """
    names = {name: _declared(name, Entries) for name in keys(*decides)}
    wanted = (entries,) if entries else tuple(Entries)
    return tuple(name for name, found in names.items() if found in wanted)


@cache
def values(*decides: Decides) -> tuple[str, ...]:
    """Those of the keys that are plain values."""
    return tuple(name for name in keys(*decides) if name not in groups(*decides))


def _declared(key: str, kind: type[Enum]) -> Enum | None:
    """What the annotation of a key says of a kind."""
    return next((each for each in get_args(declared_type(key)) if isinstance(each, kind)), None)


def declared_type(key: str) -> Any:
    """The declared type of a root key, bounds included."""
    return parameter_types(Root)[key]


def _for_hydra() -> list[tuple[str, Any, Any]]:
    """The fields of `Root` with the types that OmegaConf knows; `check` sees to all others.

    Text is not among them, for OmegaConf would make text of a number: 2024_05 would be 202405.
    """
    kinds = {name: get_args(annotation)[0] for name, annotation in parameter_types(Root).items()}
    return [
        (name, kind if kind in (int, float, bool) else Any, field(default=MISSING))
        for name, kind in kinds.items()
    ]


# A name of this module, as which configurations are pickled.
Schema = make_dataclass("Schema", _for_hydra(), namespace={"__module__": __name__})


def add_schema() -> None:
    """Make the schema known to Hydra as the first entry of the root's defaults list."""
    ConfigStore.instance().store(name="schema", node=Schema)
    # In `hydra.run.dir`: Hydra makes that folder before it calls anything of ours.
    OmegaConf.register_new_resolver("folder", _results_folder, replace=True)


def _results_folder(value: Any) -> str:
    """The results folder, if it is one that may be made.

    Raises:
        InputError: it is no text, or a ~ that no shell has replaced.
    """
    folder = str(checked("results", value, declared_type("results")))
    if folder == "~" or folder.startswith("~/"):
        allowed = f"~ is nobody's home here, give the path: {Path(folder).expanduser()}"
        raise InputError("results", folder, allowed)
    return folder


def check(cfg: DictConfig, config: Mapping[str, Any] | None = None) -> None:
    """Check every root key against its declared type.

    Args:
        cfg: a whole configuration.
        config: the same as plain values, if they are known.

    Raises:
        InputError: naming the key.
    """
    plain = OmegaConf.to_container(cfg, resolve=True) if config is None else config
    assert isinstance(plain, Mapping)
    known = keys(*Decides)
    for key, value in plain.items():
        if key not in known:
            raise unknown_key(str(key), value, known)
    # To Hydra an empty list of metrics is a missing one.
    if plain.get("metric", MISSING) in (MISSING, {}, None):
        raise InputError("metric", "[]", "must name at least one metric, e.g. metric=[rmse,ssim]")
    for key in known:
        if plain.get(key, MISSING) == MISSING:
            raise InputError(key, "", "is needed and cannot be removed")
    for group in groups(*Decides, entries=Entries.SEVERAL):
        _check_several(group, plain[group])
    for key in inner_groups():
        group, _, name = key.partition(".")
        given = plain.get(group, {}).get(name)
        if isinstance(given, str):  # its content must be in the key of a cell, not its name
            raise InputError(key, given, f"must be given as {key.replace('.', '/')}={given}")
    for key in values(*Decides):
        _check_value(key, plain[key])
    _results_folder(plain["results"])


def check_sweep(cfg: DictConfig) -> None:
    """Check the keys that a multirun needs before it has any job.

    Raises:
        InputError: naming the key.
    """
    for key in values(Decides.SWEEP):
        value = cfg[key]
        if OmegaConf.is_config(value):
            # Unresolved: interpolations in `pack` belong to the points.
            value = OmegaConf.to_container(value, resolve=False)
        _check_value(key, value)
    _results_folder(cfg["results"])


def _check_several(group: str, entries_of: Mapping[str, Any]) -> None:
    names = entries(group)
    for name, node in entries_of.items():
        if name not in names:
            raise unknown_key(f"{group}.{name}", node, names)
        if not isinstance(node, Mapping):
            raise InputError(f"{group}.{name}", node, "must keep the keys of its yaml")


def _check_value(key: str, value: Any) -> None:
    # Points of a grid have the same values again and again.
    if (key, type(value), str(value)) not in _fine:
        checked(key, value, declared_type(key))
        _fine.add((key, type(value), str(value)))


_fine: set[tuple[str, type, str]] = set()

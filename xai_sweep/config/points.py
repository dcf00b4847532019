"""A point of the grid: its configuration, composed as Hydra composes that of a job."""

import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from xai_sweep.config import plugins
from xai_sweep.config.building import plain
from xai_sweep.config.entries import entries
from xai_sweep.config.keys import SAME_CASES, Decides, Entries, groups, values
from xai_sweep.config.texts import kept
from xai_sweep.core.errors import InputError
from xai_sweep.core.paths import CONF

Overrides = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Point:
    """One point of the grid.

    Attributes:
        cfg: its configuration.
        choices: the chosen entry of each group.
        overrides: what chooses it, as on the command line.
    """

    cfg: DictConfig
    choices: Mapping[str, str]
    overrides: Overrides

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration as plain values, interpolations resolved."""
        return plain(self.cfg)


class Composer:
    """Composes points as Hydra's launchers do; points that differ in values share a composition.

    Args:
        loader: Hydra's own, which knows where configurations are.
        master: the configuration of the multirun or of the running job, with its `hydra` node.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        # As bytes, from which a copy takes a fifth of the time of a deep one.
        self._composed: dict[Overrides, tuple[bytes, Mapping[str, str]]] = {}

    @property
    def known(self) -> dict[str, Any]:
        """The configuration without any point's own overrides, plain values."""
        # Without `hydra`, which differs from call to call. Unresolved, for values may be missing.
        whole = OmegaConf.to_container(self._master, resolve=False)
        return {str(key): value for key, value in whole.items() if key != "hydra"}  # type: ignore[union-attr]

    @classmethod
    def of_the_running_job(cls) -> "Composer":
        """For use inside a job, in whatever process a launcher runs it."""
        # A part of the whole configuration, whatever Hydra says of its type.
        master = cast(DictConfig, HydraConfig.instance().cfg)
        return cls(GlobalHydra.instance().config_loader(), master)

    def point(self, overrides: Sequence[str]) -> Point:
        """The point that these overrides choose.

        Raises:
            HydraException: as on the command line.
            InputError: several entries of a group that takes one.
        """
        changes = [word for word in overrides if _changes_a_value(word)]
        rest = tuple(word for word in overrides if not _changes_a_value(word))
        if rest not in self._composed:
            point = self._compose(rest)
            self._composed[rest] = pickle.dumps(point.cfg), point.choices
        pickled, choices = self._composed[rest]
        cfg: DictConfig = pickle.loads(pickled)
        try:
            for change in map(_parsed, changes):
                OmegaConf.update(cfg, change.key_or_group, change.value(), merge=True)
        except OmegaConfBaseException:  # Hydra's own message is better
            return self._compose(tuple(overrides))
        return Point(cfg, choices, tuple(overrides))

    def _compose(self, overrides: Overrides) -> Point:
        whole = self._loader.load_sweep_config(self._master, list(overrides))
        choices = checked_choices(whole.hydra.runtime.choices, overrides)
        with read_write(whole), open_dict(whole):
            del whole["hydra"]
        return Point(whole, choices, overrides)


@contextmanager
def composer_of(words: Sequence[str]) -> Iterator[tuple[Composer, list[Overrides]]]:
    """What Hydra would make of a command line: a composer, and the overrides of each point.

    Args:
        words: of the command line, without the program's name.

    Raises:
        HydraException: a word that Hydra does not understand.
        InputError: a plugin that cannot be used.
    """
    plugins.activate_from(words)
    options, overrides = plugins.split(words)
    overrides = kept(overrides)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        name = options.get("config-name", "config")
        master = loader.load_configuration(name, overrides, run_mode=RunMode.MULTIRUN)
        several = {"-m", "--multirun"}.intersection(words) or master.hydra.mode is RunMode.MULTIRUN
        params = (master.hydra.sweeper.get("params") or {}) if several else {}
        yield Composer(loader, master), grid(loader, params, master.hydra.overrides.task)


def grid(loader: ConfigLoader, params: Mapping[str, str], words: Sequence[str]) -> list[Overrides]:
    """The overrides of each point of a grid.

    Args:
        loader: Hydra's own.
        params: the sweeper's own overrides, by key.
        words: overrides of the command line.
    """
    parser = OverridesParser.create(config_loader=loader)
    of_the_sweeper = [f"{key}={value}" for key, value in params.items()]
    overrides = parser.parse_overrides(kept([*of_the_sweeper, *words]))
    (points,) = BasicSweeper.split_arguments(overrides, None)
    return [tuple(kept(point)) for point in points]


def composed(overrides: Sequence[str]) -> DictConfig:
    """The configuration that a single run with these overrides would have.

    Raises:
        HydraException: as on the command line.
        InputError: a plugin that cannot be used.
    """
    plugins.activate_from(overrides)
    options, words = plugins.split(overrides)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(options.get("config-name", "config"), overrides=kept(words))


def checked_choices(choices: Mapping[str, object], overrides: Sequence[str]) -> dict[str, str]:
    """The chosen entry of each group.

    Raises:
        InputError: several entries of a group that takes one.
    """
    given = dict(word.split("=", 1) for word in overrides if "=" in word)
    for group in groups(*Decides, entries=Entries.ONE):
        if group not in choices:
            allowed = f"must be one of {', '.join(entries(group))}"
            raise InputError(group, given.get(group, ""), allowed)
    return {group: str(entry) for group, entry in choices.items()}


# A sweeper and its jobs often share a process.
@lru_cache(maxsize=65536)
def _parsed(word: str) -> Override:
    return OverridesParser.create().parse_override(word)


def _changes_a_value(override: str) -> bool:
    """Whether an override chooses no entry of a group, so that it can be made afterwards."""
    return _value().match(override) is not None


@cache
def _value() -> re.Pattern[str]:
    inside, whole = "|".join(groups(*SAME_CASES)), "|".join(values(*SAME_CASES))
    return re.compile(rf"({inside})\.[\w.]+=|({whole})=")

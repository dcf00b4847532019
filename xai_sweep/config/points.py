"""A point of the grid: its configuration, composed as Hydra composes that of a job."""

import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from xai_sweep.config.root import entries
from xai_sweep.core.errors import InputError
from xai_sweep.sweep.packing import Overrides

# Overrides that choose no entry of a group: what they change can be changed afterwards.
_VALUE = re.compile(r"(transform|magnitude)\.[\w.]+=|(target|region|region_of)=")
_ONE_ENTRY = ("data", "model", "explainer", "transform")


@dataclass(frozen=True, eq=False)
class Point:
    """One point of the grid.

    Attributes:
        cfg: its configuration.
        choices: the chosen entry of each group.
        overrides: what was asked for, as on the command line.
    """

    cfg: DictConfig
    choices: Mapping[str, str]
    overrides: Overrides


class Composer:
    """Composes points as Hydra's launchers do; points that differ in values share a composition.

    Args:
        loader: Hydra's own, which knows where configurations are sought.
        master: the configuration of the multirun or of the running job, with its `hydra` node.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader, self._master = loader, master
        self._parser = OverridesParser.create()
        # As bytes, from which a copy takes a fifth of the time of a deep one.
        self._composed: dict[Overrides, tuple[bytes, Mapping[str, str]]] = {}

    @classmethod
    def of_the_running_job(cls) -> "Composer":
        """For use inside a job, in whatever process a launcher runs it."""
        # A part of the whole configuration, whatever Hydra says of its type.
        master = cast(DictConfig, HydraConfig.instance().cfg)
        return cls(GlobalHydra.instance().config_loader(), master)

    def point(self, overrides: Sequence[str]) -> Point:
        """The point that these overrides ask for.

        Raises:
            HydraException: as on the command line.
            InputError: several entries of a group that takes one.
        """
        values = [word for word in overrides if _VALUE.match(word)]
        rest = tuple(word for word in overrides if not _VALUE.match(word))
        if rest not in self._composed:
            point = self._compose(rest)
            self._composed[rest] = pickle.dumps(point.cfg), point.choices
        pickled, choices = self._composed[rest]
        cfg: DictConfig = pickle.loads(pickled)
        try:
            for value in self._parser.parse_overrides(values):
                OmegaConf.update(cfg, value.key_or_group, value.value(), merge=True)
        except OmegaConfBaseException:  # Hydra says it better
            return self._compose(tuple(overrides))
        return Point(cfg, choices, tuple(overrides))

    def _compose(self, overrides: Overrides) -> Point:
        whole = self._loader.load_sweep_config(self._master, list(overrides))
        choices = checked_choices(whole.hydra.runtime.choices, overrides)
        with read_write(whole), open_dict(whole):
            del whole["hydra"]
        return Point(whole, choices, overrides)


def checked_choices(choices: Mapping[str, object], overrides: Sequence[str]) -> dict[str, str]:
    """The chosen entry of each group.

    Raises:
        InputError: several entries of a group that takes one.
    """
    given = dict(word.split("=", 1) for word in overrides if "=" in word)
    for group in _ONE_ENTRY:
        if group not in choices:
            allowed = f"must be one of {', '.join(entries(group))}"
            raise InputError(group, given.get(group, ""), allowed)
    return {group: str(entry) for group, entry in choices.items()}

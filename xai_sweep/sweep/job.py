"""The place of a job in its sweep."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from xai_sweep.config.plugins import SEARCHPATH
from xai_sweep.config.points import Overrides, checked_choices
from xai_sweep.sweep.packing import root


@dataclass(frozen=True)
class Job:
    """Where a job stands in its sweep.

    Attributes:
        choices: the chosen entry of each group.
        sweep: the name of the multirun, or of the single run.
        output: the job's own folder.
        overrides: as on the command line.
        several: whether it is one of the jobs of a multirun.
        options: Hydra's, as on the command line, if the configuration is one of the user's own.
    """

    choices: Mapping[str, str]
    sweep: str
    output: Path
    overrides: Overrides = ()
    several: bool = False
    options: Overrides = ()

    @classmethod
    def from_hydra(cls) -> "Job":
        """The job that Hydra is running.

        Raises:
            InputError: several entries of a group that takes one.
        """
        hydra = HydraConfig.get()
        output = Path(hydra.runtime.output_dir)
        several = hydra.mode == RunMode.MULTIRUN
        overrides = tuple(word for word in hydra.overrides.task if root(word) != "pack")
        return cls(
            choices=checked_choices(hydra.runtime.choices, overrides),
            sweep=output.parent.name if several else output.name,
            output=output,
            overrides=overrides,
            several=several,
            options=_options(hydra),
        )


def _options(hydra: Any) -> Overrides:
    name = hydra.job.config_name
    own = [each.path for each in hydra.runtime.config_sources if each.provider == "command-line"]
    return (
        *(() if name in (None, "config") else ("--config-name", str(name))),
        *(("--config-dir", own[0]) if own else ()),
        *(word for word in hydra.overrides.hydra if word.startswith(f"{SEARCHPATH}=")),
    )

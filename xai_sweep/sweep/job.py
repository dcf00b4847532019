"""The place of a job in its sweep."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

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
    """

    choices: Mapping[str, str]
    sweep: str
    output: Path
    overrides: Overrides = ()
    several: bool = False

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
        )

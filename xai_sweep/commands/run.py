"""`xai-sweep run`, which is `python run.py`: a job, or with ``-m`` a grid of jobs."""

import sys
from argparse import Namespace
from collections.abc import Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from xai_sweep.commands.errors import one_line_errors
from xai_sweep.commands.parsing import Commands, add_command
from xai_sweep.commands.words import options_first, with_controls
from xai_sweep.config import plugins
from xai_sweep.config.keys import add_schema
from xai_sweep.config.messages import USER_ERRORS
from xai_sweep.config.texts import kept
from xai_sweep.core.errors import SomeFailedError
from xai_sweep.core.paths import CONF
from xai_sweep.sweep.launching import with_multirun
from xai_sweep.sweep.packing import SWEEPER

add_schema()
# The error of a single job, which Hydra would print in several lines.
_errors: list[Exception] = []


def add_parser(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add_command(
        commands,
        "run",
        "[-m] [group=entry ...] [key=value ...]",
        "compute a job, or with -m a grid of jobs",
        main,
        # Hydra reads all words, also --help: no character begins an option here.
        prefix_chars="\0",
        add_help=False,
    )
    parser.add_argument("words", nargs="*")


def main(args: Namespace) -> int:
    """Run what the words describe."""
    run(args.words)
    return 0


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def job(cfg: DictConfig) -> object:
    """One job of a sweep; what failed in it, if it is one of several."""
    # Not above: help and errors in the configuration need no torch.
    from xai_sweep.sweep.running import Job
    from xai_sweep.sweep.running import run as run_job

    hydra = HydraConfig.get()
    try:
        failed = run_job(cfg, Job.from_hydra())
    except (*USER_ERRORS, SomeFailedError) as error:
        if hydra.mode == RunMode.MULTIRUN:
            raise
        _errors.append(error)
        return None
    if failed and hydra.sweeper.get("_target_") != SWEEPER:  # which would count them itself
        raise SomeFailedError(f"{len(failed)} failed, see above", code=1)
    return failed


def run(words: Sequence[str] | None = None) -> None:
    """Compute what a command line describes.

    Args:
        words: of the command line; by default those of this process.

    Raises:
        SystemExit: the exit code, if it is not 0.
    """
    given = list(sys.argv[1:] if words is None else words)
    if "--cfg" in given and "job" in given:
        given.append("--resolve")
    _errors.clear()
    with one_line_errors():
        sys.argv[1:] = options_first(with_multirun(with_controls(given)))
        plugins.activate_from(sys.argv[1:])
        sys.argv[1:] = kept(sys.argv[1:])
        job()
        for error in _errors:
            raise error

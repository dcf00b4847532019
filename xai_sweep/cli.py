"""The command line: `python run.py ...` and the installed `xai-sweep run ...` are the same.

Imports neither torch nor Lightning, so that help and input errors answer at once.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
    ValidationError,
)

from xai_sweep.config import CONF, Root, entries, in_words, register
from xai_sweep.controls import CONTROLS
from xai_sweep.errors import InputError, unknown_key

USAGE = """xai-sweep: how robust are explanations of image classifiers?

  xai-sweep run [-m] [key=value ...]   run a job, or with -m a grid of jobs
  xai-sweep run --help                 the groups and keys
  xai-sweep report RESULTS             table and pictures of finished cells
  xai-sweep explainers                 the explanation methods, and what is known of each
  xai-sweep preflight [key=value ...]  what the explainer will do with the model, and its cost
  xai-sweep wandb-sync RESULTS         upload the W&B runs that are not up yet
"""

# What a user can get wrong; anything else is a fault of the program.
USER_ERRORS = (InputError, HydraException, OmegaConfBaseException, OSError)

register()
_failed_jobs = 0
_main_process = os.getpid()


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def job(cfg: DictConfig) -> None:
    """One job of a sweep."""
    with job_errors():
        # Here and not above: help and errors in the configuration need no torch.
        from xai_sweep.sweep import Job
        from xai_sweep.sweep import run as run_job

        run_job(cfg, Job.from_hydra())


def run() -> None:
    """`python run.py`: sweep over what the command line says."""
    if "--cfg" in sys.argv and "job" in sys.argv:
        sys.argv.append("--resolve")
    sys.argv[1:] = with_controls(sys.argv[1:])
    with one_line_errors():
        job()


def with_controls(words: list[str]) -> list[str]:
    """`explainer=controls` stands for all null explainers: one job each, so with `-m`."""
    names = {word: word.partition("=")[2].split(",") for word in words if word[:10] == "explainer="}
    groups = [word for word, chosen in names.items() if "controls" in chosen]
    for word in groups:
        spelled = [",".join(CONTROLS) if name == "controls" else name for name in names[word]]
        words = [f"explainer={','.join(spelled)}" if each == word else each for each in words]
    several = {"-m", "--multirun"}.intersection(words)
    return ["-m", *words] if groups and not several else words


def main() -> None:
    """The console script `xai-sweep`."""
    match sys.argv[1:]:
        case ["run", *_]:
            del sys.argv[1]
            run()
        case ["report", results]:
            with one_line_errors():
                from xai_sweep.report import report_folder

                report_folder(results)
        case ["explainers"]:
            with one_line_errors():
                from xai_sweep.catalogue import explainers

                explainers()
        case ["preflight", *overrides]:
            with one_line_errors():
                from xai_sweep.preflight import preflight

                preflight(overrides)
        case ["wandb-sync", *words] if folders := [Path(w) for w in words if w != "--unfinished"]:
            with one_line_errors():
                from xai_sweep.tracking.wandb_sync import wandb_sync

                sys.exit(1 if wandb_sync(folders, unfinished="--unfinished" in words) else 0)
        case [] | ["-h"] | ["--help"]:
            print(USAGE)
        case words:
            print(
                f"error: {' '.join(words)}: must be run, report RESULTS, explainers, preflight or "
                "wandb-sync RESULTS",
                file=sys.stderr,
            )
            sys.exit(2)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what the user got wrong into one line on stderr and exit code 2; Ctrl+C into 130.

    Faults of the program keep their traceback. So does everything if HYDRA_FULL_ERROR=1.
    """
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Otherwise Hydra prints several lines and leaves by itself.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except (*USER_ERRORS, ValueError) as error:
        known = isinstance(error, USER_ERRORS) or str(error).startswith("Config group override")
        if full or not known:
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    if _failed_jobs > 1:
        print(f"error: {_failed_jobs} jobs failed, see above", file=sys.stderr)
    if _failed_jobs:
        sys.exit(2)


@contextmanager
def job_errors() -> Iterator[None]:
    """Inside a job: say what the user got wrong, and let the other jobs of this process go on."""
    global _failed_jobs
    try:
        yield
    except USER_ERRORS as error:
        # From a worker process the launcher carries it home.
        if os.getpid() != _main_process:
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        _failed_jobs += 1


def one_line(error: Exception) -> str:
    """The message of an error of ours, Hydra's or OmegaConf's as one line."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, entry = error.missing_cfg_file.rpartition("/")
        if entries(group):
            return f"{group}={entry}: must be one of {', '.join(entries(group))}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: must be key=value; quote a value with odd characters in it"
    if isinstance(error, ConfigCompositionException):
        cause, value = error.__cause__, str(error).partition("\n")[0].partition("=")[2]
        if (
            isinstance(cause, ConfigAttributeError | ConfigKeyError)
            and cause.parent_node is not None
        ):
            value = str(error).rpartition("=")[2]
            allowed = [str(key) for key in cause.parent_node if key not in ("_target_", "hydra")]
            return str(unknown_key(str(cause.full_key), value, allowed))
        if isinstance(cause, ValidationError) and cause.full_key in Root.__annotations__:
            expected = in_words(Root.__annotations__[str(cause.full_key)])
            return str(InputError(str(cause.full_key), value, f"must be {expected}"))
    if type(error) is ValueError:  # transform=3: Hydra wants a name, and says only that
        words = [word.partition("=") for word in sys.argv[1:]]
        for group, _, entry in words:
            if entries(group) and not set(re.findall(r"\w+", entry)) <= {*entries(group)}:
                return f"{group}={entry}: must be one of {', '.join(entries(group))}"
    if isinstance(error, OmegaConfBaseException):
        text = str(error.msg or error).split("\n")[0]
        return f"{error.full_key}: {text}" if error.full_key else text
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    text = re.sub(r"\s*\n\s*", "; ", str(error).strip())
    cause = error.__cause__
    return f"{text} ({one_line(cause)})" if isinstance(cause, OmegaConfBaseException) else text

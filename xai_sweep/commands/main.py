"""The command line: `python run.py ...` and the installed `xai-sweep run ...` are the same.

Imports neither torch nor Lightning, so that help and input errors answer at once.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from xai_sweep.config.controls import CONTROLS
from xai_sweep.config.messages import USER_ERRORS, one_line
from xai_sweep.config.root import CONF, register
from xai_sweep.core.errors import InputError, SomeFailedError
from xai_sweep.sweep.launching import with_multirun
from xai_sweep.sweep.packing import SWEEPER, check_retry, quoted

USAGE = """xai-sweep: how robust are explanations of image classifiers?

  xai-sweep run [-m] [key=value ...]   run a job, or with -m a grid of jobs
  xai-sweep run --help                 the groups and keys
  xai-sweep report RESULTS             table and pictures of finished cells
  xai-sweep representatives RESULTS [explainer=lime ...] [--count N]
                                       images that show most of what explanations look at
  xai-sweep retry RESULTS              compute again what failed
  xai-sweep status RESULTS [key=value ...] [--watch]
                                       done, running, failed and missing cells of a sweep
  xai-sweep verify [--repair] RESULTS  is every row there, and as it was written?
  xai-sweep compact RESULTS            many small files of finished cells as few large ones
  xai-sweep prune [--yes] RESULTS      list what killed jobs left behind; --yes removes it
  xai-sweep explainers                 the explanation methods, and what is known of each
  xai-sweep preflight [key=value ...]  what the explainer will do with the model, and its cost
  xai-sweep wandb-sync RESULTS         upload the W&B runs that are not up yet
"""

register()
# Of a single job, from inside Hydra, which would say it in more lines.
_errors: list[Exception] = []


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def job(cfg: DictConfig) -> object:
    """One job of a sweep; what failed in it, if it is one of several."""
    # Here and not above: help and errors in the configuration need no torch.
    from xai_sweep.sweep.running import Job
    from xai_sweep.sweep.running import run as run_job

    hydra = HydraConfig.get()
    try:
        failed = run_job(cfg, Job.from_hydra())
    except USER_ERRORS as error:
        if hydra.mode == RunMode.MULTIRUN:
            raise
        _errors.append(error)
        return None
    if failed and hydra.sweeper.get("_target_") != SWEEPER:  # nobody else counts them
        raise SomeFailedError(f"{len(failed)} failed, see above", code=1)
    return failed


def run() -> None:
    """`python run.py`: sweep over what the command line says."""
    if "--cfg" in sys.argv and "job" in sys.argv:
        sys.argv.append("--resolve")
    sys.argv[1:] = with_multirun(with_controls(sys.argv[1:]))
    _errors.clear()
    with one_line_errors():
        job()
        for error in _errors:
            raise error


def retry(results: str, words: list[str]) -> None:
    """`xai-sweep retry`: compute again what failed, under the same overrides.

    Raises:
        InputError: there is no such folder, or a word that could change what is computed.
    """
    check_retry(results, words)
    sys.argv[1:] = ["-m", f"results={quoted(results)}", "hydra.sweeper.retry=true", *words]
    run()


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
        case [] | [*_, "-h" | "--help"]:
            print(USAGE)
        case ["report", results]:
            with one_line_errors():
                from xai_sweep.report.terminal import print_report

                print_report(results)
        case ["representatives", results, *words]:
            with one_line_errors():
                from xai_sweep.commands.representatives import representatives

                representatives(results, words)
        case ["retry", results, *words]:
            with one_line_errors():
                retry(results, words)
        case [("status" | "verify" | "compact" | "prune") as command, *words]:
            with one_line_errors():
                sys.exit(upkeep(command, words))
        case ["explainers"]:
            with one_line_errors():
                from xai_sweep.commands.explainers import explainers

                explainers()
        case ["preflight", *overrides]:
            with one_line_errors():
                from xai_sweep.commands.preflight import preflight

                preflight(overrides)
        case ["wandb-sync", *words] if folders := [Path(w) for w in words if w != "--unfinished"]:
            with one_line_errors():
                from xai_sweep.tracking.wandb_sync import wandb_sync

                sys.exit(1 if wandb_sync(folders, unfinished="--unfinished" in words) else 0)
        case words:
            commands = (
                "run, report, status, verify, compact, prune, representatives, retry or wandb-sync "
                "RESULTS, explainers or preflight"
            )
            print(f"error: {' '.join(words)}: must be {commands}", file=sys.stderr)
            sys.exit(2)


def upkeep(command: str, words: list[str]) -> int:
    """The commands that look after a results folder.

    Returns:
        The exit code.

    Raises:
        InputError: not one results folder, or a word too many.
    """
    from xai_sweep.commands import upkeep as tell

    flag = {"status": "--watch", "verify": "--repair", "prune": "--yes"}.get(command, "")
    rest = [word for word in words if word not in (flag, "-m", "--multirun")]
    if not rest or (len(rest) > 1 and command != "status"):
        flags = f" [{flag}]" if flag else ""
        raise InputError(command, " ".join(words), f"must be xai-sweep {command}{flags} RESULTS")
    match command:
        case "status":
            tell.print_status(rest[0], with_controls(rest[1:]), flag in words)
        case "verify":
            return tell.print_verdict(rest[0], flag in words)
        case "compact":
            tell.print_compaction(rest[0])
        case _:
            tell.print_leftovers(rest[0], flag in words)
    return 0


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what the user got wrong into one line on stderr and exit code 2; Ctrl+C into 130.

    Faults of the program keep their traceback. So does everything if HYDRA_FULL_ERROR=1.
    """
    before = os.environ.get("HYDRA_FULL_ERROR")
    full = before == "1"
    # Otherwise Hydra prints several lines and leaves by itself.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except SomeFailedError as failed:
        print(f"error: {failed}", file=sys.stderr)
        sys.exit(failed.code)
    except (*USER_ERRORS, ValueError) as error:
        known = isinstance(error, USER_ERRORS) or str(error).startswith("Config group override")
        if full or not known:
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    finally:  # the next call in this process gets its errors in one line too
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before

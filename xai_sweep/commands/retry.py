"""`xai-sweep retry`: compute again what failed, under the same overrides."""

from argparse import Namespace

from xai_sweep.commands.parsing import Commands, add_command
from xai_sweep.commands.run import run
from xai_sweep.config.quoting import for_hydra
from xai_sweep.sweep.retrying import check_retry, command_line


def add_parser(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add_command(
        commands,
        "retry",
        "RESULTS [key=value ...]",
        "compute again what failed",
        main,
        details="Words behind RESULTS say how jobs run: hydra/launcher=..., hydra.launcher.*=...,\n"
        "on_error=..., cells_per_job=...",
        composes=True,
    )
    parser.add_argument("results", metavar="RESULTS", help="a results folder")
    parser.add_argument("words", nargs="*", metavar="key=value", help="how jobs run")


def main(args: Namespace) -> int:
    """Compute again what failed.

    Raises:
        InputError: there is no such folder, or a word that could change what is computed.
    """
    check_retry(args.results, args.words)
    options, words = command_line(args.results, args.words)
    retrying = (f"results={for_hydra(args.results)}", "hydra.sweeper.retry=true")
    run(["-m", *options, *retrying, *words])
    return 0

"""`xai-sweep wandb-sync`: upload the W&B runs that are not uploaded yet."""

from argparse import Namespace
from pathlib import Path

from xai_sweep.commands.parsing import Commands, add_command


def add_parser(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add_command(
        commands,
        "wandb-sync",
        "[--unfinished] RESULTS ...",
        "upload the W&B runs that are not uploaded yet",
        main,
        details="The exit code is 1 if a run could not be uploaded.",
        takes_words=True,
    )
    parser.add_argument("results", metavar="RESULTS", nargs="+", help="folders of results")
    parser.add_option(
        "--unfinished",
        action="store_true",
        help="also runs of jobs that may still be running elsewhere; they are marked as failed",
    )


def main(args: Namespace) -> int:
    """Upload runs.

    Returns:
        1 if a run could not be uploaded.

    Raises:
        InputError: no such runs, or nobody is logged in.
    """
    from xai_sweep.tracking.wandb_sync import wandb_sync

    folders = [Path(folder) for folder in (*args.results, *args.words)]
    return 1 if wandb_sync(folders, unfinished=args.unfinished) else 0

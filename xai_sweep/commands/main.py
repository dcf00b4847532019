"""The command line `xai-sweep`: chooses the command.

Imports neither torch nor Lightning, so that help and input errors answer at once; a command imports
what it needs when it runs.
"""

import argparse
import sys

from xai_sweep import __version__
from xai_sweep.commands import (
    compact,
    explainers,
    preflight,
    prune,
    report,
    representatives,
    retry,
    run,
    status,
    verify,
    wandb_sync,
)
from xai_sweep.commands.errors import one_line_errors
from xai_sweep.commands.parsing import PROGRAM, Parser, parse

# In the order of the help.
COMMANDS = (
    *(run, status, report, representatives, retry),
    *(verify, compact, prune, explainers, preflight, wandb_sync),
)


def main() -> None:
    """The console script `xai-sweep`.

    Raises:
        SystemExit: the command's exit code, if it is not 0.
    """
    code = 0
    with one_line_errors():
        code = dispatch(sys.argv[1:])
    if code:
        sys.exit(code)


def dispatch(words: list[str]) -> int:
    """Run the command that a command line names.

    Returns:
        The exit code.

    Raises:
        InputError: no such command, or not its arguments.
    """
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND ...",
        description="xai-sweep: how robust are explanations of image classifiers?",
        epilog=f"{PROGRAM} COMMAND --help explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"xai_sweep {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    if not words:
        parser.print_help()
        return 0
    arguments = parse(parser, commands.choices, words)
    code: int = arguments.main(arguments)
    return code

"""`xai-sweep report`: table and pictures of finished cells."""

from argparse import Namespace

from xai_sweep.commands.parsing import Commands, add_command


def add_parser(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add_command(
        commands, "report", "RESULTS", "table and pictures of finished cells", main
    )
    parser.add_argument("results", metavar="RESULTS", help="a results folder")


def main(args: Namespace) -> int:
    """Print the table and write the pictures.

    Raises:
        InputError: no folder, or nothing finished in it.
    """
    from xai_sweep.report.terminal import print_report

    print_report(args.results)
    return 0

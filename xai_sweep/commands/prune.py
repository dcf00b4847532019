"""`xai-sweep prune`: list what killed jobs and older versions left behind, and remove it."""

from argparse import Namespace

from xai_sweep.commands.parsing import Commands, add_command


def add_parser(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add_command(
        commands, "prune", "[--yes] RESULTS", "list what killed jobs left behind", main
    )
    parser.add_argument("results", metavar="RESULTS", help="a results folder")
    parser.add_option("--yes", action="store_true", help="remove it")


def main(args: Namespace) -> int:
    """List leftovers, with ``--yes`` remove them.

    Raises:
        InputError: no results folder, or of another schema version.
        OSError: it cannot be written.
    """
    from xai_sweep.config.cells import NUMBERS
    from xai_sweep.store.store import opened
    from xai_sweep.store.upkeep.prune import leftovers, remove

    folder = opened(args.results)
    found = leftovers(folder, NUMBERS)
    for each in found:
        print(f"{each.path}: {each.why}")
    if not found:
        print("nothing is left over")
    elif args.yes:
        kept = remove(folder, found)
        print(f"{len(found) - len(kept)} removed" + (f", {len(kept)} in use" if kept else ""))
    else:
        print(f"{len(found)} leftovers: xai-sweep prune --yes {args.results} removes them")
    return 0

"""`xai-sweep compact`: many small files of finished cells as few large ones."""

from argparse import Namespace

from xai_sweep.commands.parsing import Commands, add_command


def add_parser(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add_command(
        commands, "compact", "RESULTS", "many small files of finished cells as few large ones", main
    )
    parser.add_argument("results", metavar="RESULTS", help="a results folder")


def main(args: Namespace) -> int:
    """Merge the shards of every complete cell.

    Raises:
        InputError: no results folder, or of another schema version.
        OSError: it cannot be written.
    """
    from xai_sweep.store.store import opened
    from xai_sweep.store.upkeep.compact import compact

    files = size = files_after = size_after = 0
    for cell in compact(opened(args.results)):
        if cell.skipped:
            print(f"{cell.name}: left as it is, {cell.skipped}")
        files, size = files + cell.before, size + cell.bytes_before
        files_after, size_after = files_after + cell.after, size_after + cell.bytes_after
    print(f"{files} files of {size:,} bytes are now {files_after} of {size_after:,} bytes")
    return 0

"""`xai-sweep verify`: is every row there, and as it was written?"""

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from xai_sweep.commands.output import print_json
from xai_sweep.commands.parsing import Commands, add_command, add_json

if TYPE_CHECKING:
    from xai_sweep.store.upkeep.verify import Verdict

_DETAILS = """Every file is read and compared with its manifest. The exit code is 1 if anything is
wrong.

Keys of --json:
  results            the folder
  complete, running, unfinished
                     cells; only complete ones are compared row by row
  rows               rows of the complete cells
  faults             what is wrong: {cell, file, what}; file is "" for a whole cell
  repaired           whether --repair was given
  left_alone         cells that --repair left alone because a job holds them"""


def add_parser(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add_command(
        commands,
        "verify",
        "[--repair] [--json] RESULTS",
        "is every row there, and as it was written?",
        main,
        details=_DETAILS,
    )
    parser.add_argument("results", metavar="RESULTS", help="a results folder")
    parser.add_option(
        "--repair",
        action="store_true",
        help="remove what is damaged, so that the same sweep command computes it again",
    )
    add_json(parser)


def main(args: Namespace) -> int:
    """Print what is wrong.

    Returns:
        1 if anything is wrong.

    Raises:
        InputError: no results folder, or of another schema version.
    """
    from xai_sweep.store.store import CELLS, opened
    from xai_sweep.store.upkeep.verify import repair, verify

    folder = opened(args.results)
    verdict = verify(folder)
    left_alone = repair(folder, verdict) if args.repair else []
    if args.json:
        print_json(
            {
                "results": folder,
                **asdict(verdict),
                "repaired": args.repair,
                "left_alone": left_alone,
            }
        )
    else:
        for fault in verdict.faults:
            print(f"{folder / CELLS / fault.cell / fault.file}: {fault.what}")
        for name in left_alone:
            print(f"{folder / CELLS / name}: left alone, a job holds it")
        _conclude(verdict, args.repair)
    return 1 if verdict.faults else 0


def _conclude(verdict: "Verdict", repaired: bool) -> None:
    print(
        f"{verdict.complete} complete cells, {verdict.rows:,} rows, "
        f"{len(verdict.faults) or 'no'} faults; not looked into: {verdict.running} running, "
        f"{verdict.unfinished} unfinished cells"
    )
    if verdict.faults:
        done = "what was damaged is gone" if repaired else "xai-sweep verify --repair removes it"
        print(f"{done}; the same sweep command computes what is missing")

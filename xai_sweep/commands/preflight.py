"""`xai-sweep preflight`: what an explainer will do with a network, before any hour is spent."""

import sys
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from xai_sweep.commands.output import no_text, print_json, print_table
from xai_sweep.commands.parsing import Commands, add_command, add_json

if TYPE_CHECKING:
    from xai_sweep.study.preflight import Preflight

_DETAILS = """The words are those of a run: model=densenet121 explainer=lrp.

Keys of --json:
  operations         of LRP: what is done with each operation that relevance passes: path,
                     operation, rule, batchnorm, note; [] for other methods
  findings           what the explainer found out about the network
  memory_bytes       kept per image for the way back; null if not known
  cost_in_forwards   time of an explanation in forward passes, per image
  error              why a run would be refused, with exit code 2; null if it would not"""


def add_parser(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add_command(
        commands,
        "preflight",
        "[--json] [key=value ...]",
        "what the explainer will do with the model, and its cost",
        main,
        details=_DETAILS,
        composes=True,
    )
    parser.add_argument("words", nargs="*", metavar="key=value", help="words of a run")
    add_json(parser)


def main(args: Namespace) -> int:
    """Print the table of operations and what an image will cost.

    Raises:
        InputError: what a run with these words would raise too.
    """
    if args.json:
        with no_text():
            found = _found(args)
        print_json(_document(found))
    else:
        found = _found(args)
        _show(found)
    if found.error is not None:
        raise found.error
    return 0


def _found(args: Namespace) -> "Preflight":
    from xai_sweep.config.points import composed
    from xai_sweep.study.preflight import preflight

    return preflight(composed(args.words))


def _document(found: "Preflight") -> dict[str, Any]:
    return {
        "operations": [asdict(operation) for operation in found.operations],
        "findings": found.findings,
        "memory_bytes": found.memory,
        "cost_in_forwards": found.cost,
        "error": None if found.error is None else str(found.error),
    }


def _show(found: "Preflight") -> None:
    if found.operations:
        table = Table(title="what is done with each operation that relevance passes")
        for column in ("path", "operation", "rule", "batchnorm", "note"):
            table.add_column(column, no_wrap=True)
        for each in found.operations:
            table.add_row(each.path, each.operation, each.rule, each.batchnorm, each.note)
        print_table(table, width=160)
    findings = found.findings or {}
    if found.memory is not None:
        print(f"memory     {found.memory / 2**20:.0f} MiB kept per image")
    if "logit_difference" in findings:
        difference = findings["logit_difference"]
        print(f"logits     differ by {difference:.1e} of the largest after fusing")
    if found.cost is not None:
        print(f"cost       {found.cost:.1f} forward passes per image")
    for operation in findings.get("unsupported", []):
        print(f"warning: {operation}: passed as input times gradient", file=sys.stderr)
    for warning in findings.get("warnings", []):
        print(f"warning: {warning}", file=sys.stderr)

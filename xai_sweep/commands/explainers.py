"""`xai-sweep explainers`: every explainer of the yaml folder, and what its class states."""

import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from xai_sweep.commands.output import no_text, print_json, print_table
from xai_sweep.commands.parsing import Commands, add_command, add_json

# What a class states of its method: the heading, and the attribute.
FACTS: Mapping[str, str] = {
    "deterministic": "is_deterministic",
    "signed": "is_signed",
    "class-sensitive": "is_class_sensitive",
    "conserves": "conserves",
    "needs fit": "needs_fit",
    "control": "is_control",
}
# Targets for which the cost is stated.
TARGETS = 4
_DETAILS = f"""Words such as plugins=[my_package] add the explainers of a plugin.

Keys of --json:
  targets            {TARGETS}: the number of targets to which cost_in_forwards refers
  explainers         of each: explainer, is_deterministic, is_signed, is_class_sensitive, conserves,
                     needs_fit, is_control, cost_in_forwards (forward passes per image at 224
                     pixels; null if it varies), columns (of the rows, which it gives), source"""


def add_parser(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add_command(
        commands,
        "explainers",
        "[--json] [key=value ...]",
        "the explanation methods, and what is known of each",
        main,
        details=_DETAILS,
        composes=True,
    )
    parser.add_argument("words", nargs="*", metavar="key=value", help="words of a run")
    add_json(parser)


def main(args: Namespace) -> int:
    """Print a line per yaml, with its parameters as they stand there."""
    if args.json:
        with no_text():
            found = known(args.words)
        print_json({"targets": TARGETS, "explainers": found})
        return 0
    table = Table(title=f"explainers; cost in forward passes, for {TARGETS} targets at 224 pixels")
    table.add_column("explainer", no_wrap=True)
    for heading in FACTS:
        table.add_column(heading, justify="center")
    table.add_column("cost", justify="right")
    table.add_column("source")
    for each in known(args.words):
        cost = each["cost_in_forwards"]
        table.add_row(
            each["explainer"],
            *["yes" if each[attribute] else "-" for attribute in FACTS.values()],
            "varies" if math.isnan(cost) else f"{cost:g}",
            each["source"],
        )
    print_table(table, width=180)
    return 0


def known(words: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The facts of every explainer, by name.

    Args:
        words: as behind ``xai-sweep run``, for example the plugins.
    """
    from xai_sweep.config.building import build
    from xai_sweep.config.entries import entries
    from xai_sweep.config.points import composed

    composed([*words])  # a plugin adds its entries
    found = []
    for name in entries("explainer"):
        explainer = build(composed([*words, f"explainer={name}"]).explainer)
        found.append(
            {
                "explainer": name,
                **{attribute: getattr(explainer, attribute) for attribute in FACTS.values()},
                "cost_in_forwards": explainer.cost_in_forwards(TARGETS),
                "columns": [column.name for column in explainer.facts],
                "source": explainer.source,
            }
        )
    return found

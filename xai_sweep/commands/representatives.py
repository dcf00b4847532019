"""`xai-sweep representatives`: the few images that show most of what the explanations look at."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from xai_sweep.commands.output import no_text, print_json
from xai_sweep.commands.parsing import Commands, WholeNumber, add_command, add_json
from xai_sweep.core.errors import unknown_key

if TYPE_CHECKING:
    from xai_sweep.report.representatives import Setting

FILTERS = ("data", "model", "explainer", "transform", "magnitude", "seed")
_DETAILS = """SP-LIME's submodular pick on the kept reference heatmaps of any method, for each data
set, model, explainer and seed; keep_heatmaps=all keeps those of all images. A picture of the images
is written to RESULTS/_figures. Words such as explainer=lime choose the cells.

Keys of --json:
  results            the folder
  rank               the rank whose heatmaps count
  settings           of each: data, model, explainer, seed, picked (image_id, label, probability,
                     gain, coverage), candidates, images, picture"""


def add_parser(commands: Commands) -> None:
    """Add the parser of the command."""
    parser = add_command(
        commands,
        "representatives",
        "[--count N] [--rank N] [--grid N] [--cells N] [--json] RESULTS [column=value ...]",
        "images that show most of what explanations look at",
        main,
        details=_DETAILS,
        takes_words=True,
    )
    parser.add_argument("results", metavar="RESULTS", help="a results folder, or that of a cell")
    parser.add_argument("words", nargs="*", metavar="column=value", help=", ".join(FILTERS))
    for name, default, help_text in (
        ("count", 5, "images to pick"),
        ("rank", 1, "the rank whose heatmap counts"),
        ("grid", 8, "cells along a side of the grid that heatmaps are summed over"),
        ("cells", 10, "the cells of an image that count, the largest"),
    ):
        parser.add_option(
            f"--{name}",
            action=WholeNumber,
            nargs="?",
            metavar="N",
            default=default,
            help=f"{help_text} [{default}]",
        )
    add_json(parser)


def main(args: Namespace) -> int:
    """Pick images, print a table for each setting and plot a picture of them.

    Raises:
        InputError: an unknown column, no finished cell, or no heatmaps.
    """
    filters = _filters(args.words)
    from xai_sweep.report.representatives import Options, representatives

    options = Options(args.count, args.rank, args.grid, args.cells)
    if args.json:
        with no_text():
            settings = [_document(each) for each in representatives(args.results, filters, options)]
        print_json({"results": args.results, "rank": args.rank, "settings": settings})
        return 0
    for setting in representatives(args.results, filters, options):
        _show(setting, args.rank)
    return 0


def _filters(words: Sequence[str]) -> dict[str, str]:
    filters = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in FILTERS:
            raise unknown_key(name, value, FILTERS)
        filters[name] = value
    return filters


def _document(setting: "Setting") -> dict[str, Any]:
    return asdict(setting)


def _show(setting: "Setting", rank: int) -> None:
    table = Table(title=setting.title)
    table.add_column("image", overflow="fold")
    table.add_column(f"class of rank {rank}")
    for column in ("p", "gain", "coverage"):
        table.add_column(column, justify="right")
    for each in setting.picked:
        numbers = (each.probability, each.gain, each.coverage)
        table.add_row(each.image_id, each.label, *[f"{number:.1%}" for number in numbers])
    Console().print(table)
    if setting.candidates < setting.images:
        print(
            f"picked from the {setting.candidates} of {setting.images} images with heatmaps; "
            "keep_heatmaps=all has all"
        )
    print(f"picture   {setting.picture}")

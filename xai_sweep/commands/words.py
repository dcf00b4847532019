"""What happens to the words of a sweep before Hydra reads them."""

from argparse import ArgumentError
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser

from xai_sweep.config.controls import controls
from xai_sweep.core.errors import InputError

MULTIRUN = ("-m", "--multirun")
_HELP = "xai-sweep run --help lists groups and keys, --hydra-help Hydra's options"


def with_controls(words: Sequence[str]) -> list[str]:
    """``explainer=controls`` stands for all null explainers: a job each, so with ``-m``."""
    expanded = [_expanded(word) for word in words]
    several = expanded != list(words) and not set(MULTIRUN).intersection(words)
    return ["-m", *expanded] if several else expanded


def _expanded(word: str) -> str:
    key, _, value = word.partition("=")
    names = value.split(",")
    if key != "explainer" or "controls" not in names:
        return word
    spelled = [",".join(controls()) if name == "controls" else name for name in names]
    return f"{key}={','.join(spelled)}"


def options_first(words: Sequence[str]) -> list[str]:
    """The options of a run may stand anywhere; Hydra wants all of them before the overrides.

    Raises:
        InputError: an option that Hydra does not have, or without the value that it needs.
    """
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        known, unknown = parser.parse_known_intermixed_args(list(words))
    except ArgumentError as error:
        raise InputError(error.argument_name or "run", "", error.message) from None
    if unknown:
        option, _, value = unknown[0].partition("=")
        raise InputError(option, value, f"unknown option; {_HELP}")
    overrides = list(known.overrides)
    options = []
    for word in words:
        if overrides and word == overrides[0]:
            overrides.pop(0)
        else:
            options.append(word)
    return [*options, *known.overrides]

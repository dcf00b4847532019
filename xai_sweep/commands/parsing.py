"""What the parsers of all commands share: one line for each error, words of a sweep, numbers."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol, runtime_checkable

from typing_extensions import override

from xai_sweep.commands.words import MULTIRUN
from xai_sweep.core.errors import InputError, unknown_key

PROGRAM = "xai-sweep"
# Hydra's own options, for commands that take the words of a run.
_CONFIGURATION = {
    "--config-dir": "a folder of yaml files of your own",
    "--config-name": "a configuration in that folder, in place of config.yaml",
}

Main = Callable[[argparse.Namespace], int]


class UsageError(Exception):
    """A command line that argparse refuses."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises what argparse would print in several lines.

    Attributes:
        option_names: the options that were added, as they are typed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.option_names: list[str] = []
        super().__init__(*args, **kwargs)

    def add_option(self, name: str, **options: Any) -> None:
        """Add an option, which an error about an unknown one then names."""
        self.option_names.append(name)
        self.add_argument(name, **options)

    @override
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


@runtime_checkable
class Commands(Protocol):
    """What a program's parser gives for its commands, see `ArgumentParser.add_subparsers`."""

    def add_parser(self, name: str, **options: Any) -> Parser:
        """Add the parser of a command."""


class WholeNumber(argparse.Action):
    """The value of an option that takes a whole number of at least 1."""

    @override
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        text = str(values or "")
        if not (text.isdecimal() and int(text)):
            raise InputError(str(option_string), text, "must be a whole number of at least 1")
        setattr(namespace, self.dest, int(text))


def add_command(
    commands: Commands,
    name: str,
    arguments: str,
    summary: str,
    main: Main,
    *,
    details: str = "",
    takes_words: bool = False,
    composes: bool = False,
    **options: Any,
) -> Parser:
    """Add the parser of a command.

    Args:
        commands: what the program's parser has for commands.
        name: of the command.
        arguments: as they stand in the usage line.
        summary: what it does, in a few words.
        main: what runs it; returns the exit code.
        details: what stands in its help below the summary.
        takes_words: whether words that are no options come behind its arguments.
        composes: whether these are the words of a run, from which it composes a configuration.
        options: for the parser.
    """
    parser = commands.add_parser(
        name,
        usage=f"{PROGRAM} {name} {arguments}".strip(),
        help=summary,
        description="\n\n".join(filter(None, [f"{summary[0].upper()}{summary[1:]}.", details])),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **options,
    )
    for option, meaning in _CONFIGURATION.items() if composes else ():
        parser.add_option(option, help=meaning)
    takes_words = takes_words or composes
    parser.set_defaults(main=main, parser=parser, takes_words=takes_words, words=[])
    return parser


def add_json(parser: Parser) -> None:
    """Add the option ``--json``."""
    parser.add_option("--json", action="store_true", help="one JSON document instead of text")


def parse(
    parser: Parser, commands: Mapping[str, Parser], words: Sequence[str]
) -> argparse.Namespace:
    """Read a command line.

    Words that argparse leaves over go to ``words``, for options and words may come in any order.

    Args:
        parser: of the program.
        commands: the parser of each command.
        words: the command line, without the program's name.

    Raises:
        InputError: an unknown command or option, a missing argument, or a word too many.
    """
    name, given = words[0], " ".join(words[1:])
    if not name.startswith("-") and name not in commands:
        raise InputError("command", name, f"must be one of {', '.join(commands)}")
    usage = f"must be {commands.get(name, parser).usage}"
    try:
        arguments, left = parser.parse_known_args(list(words))
    except UsageError:
        raise InputError(name, given, usage) from None
    if "main" not in arguments:  # options alone
        raise InputError(name, given, usage)
    left = [word for word in left if not (arguments.takes_words and word in MULTIRUN)]
    for word in left:
        if word.startswith("-"):
            option, _, value = word.partition("=")
            raise unknown_key(option, value, arguments.parser.option_names)
    if left and not arguments.takes_words:
        raise InputError(name, given, usage)
    given_options = {
        option: getattr(arguments, option.removeprefix("--").replace("-", "_"), None)
        for option in _CONFIGURATION
    }
    chosen = [f"{option}={value}" for option, value in given_options.items() if value]
    arguments.words = [*chosen, *arguments.words, *left]
    return arguments

"""Words in quotes: for Hydra, for the shell, and for both."""

import re
import shlex
from contextlib import suppress
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException


def quoted(text: str) -> str:
    """A text that Hydra takes as it is; an interpolation in it stays one."""
    return str(QuotedString(text, Quote.double).with_quotes())


def for_hydra(text: str) -> str:
    """A text that Hydra takes as it is, ``${`` too."""
    # OmegaConf's escape; the backslashes before one count.
    return quoted(re.sub(r"(\\*)\$\{", r"\1\1\\${", text))


def for_the_shell(word: str) -> str:
    """A word as it is typed in a shell, in one line."""
    if all(character.isprintable() for character in word):
        return shlex.quote(word)
    escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    spelled = (
        escapes.get(each) or (each if each.isprintable() else f"\\U{ord(each):08x}")
        for each in word
    )
    return f"$'{''.join(spelled)}'"


def as_text(key: str, value: str) -> str:
    """An override whose value is this text; a home folder that no shell has put in is put in."""
    home = value == "~" or value.startswith("~/")
    return f"{key}={for_hydra(str(Path(value).expanduser()) if home else value)}"


def parsed(word: str) -> Override | None:
    """An override as Hydra reads it; None if it cannot."""
    with suppress(HydraException):
        return OverridesParser.create().parse_override(word)
    return None

"""What goes wrong: the one line that a person reads, and the failure of a single image."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


class InputError(ValueError):
    """Something the user gave cannot be used.

    Args:
        key: the configuration key as it is typed on the command line, e.g. ``transform.angle``.
        value: what was given.
        allowed: what would be accepted, and where useful why this was not; one line.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key, self.value, self.allowed = key, value, allowed
        super().__init__(f"{key}={_spelled(value)}: {allowed}")

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, object, str]]:
        """How it travels home from another process; exceptions keep only their message."""
        return type(self), (self.key, self.value, self.allowed)


class SomeFailedError(Exception):
    """Parts of a sweep failed, and the rest is there.

    Args:
        message: what and what to do, one line.
        code: the exit code of the program.
    """

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)


class ImageError(ValueError):
    """One image cannot be used, and its rows say why; the others can."""


def unknown_key(key: str, value: object, allowed: Iterable[str]) -> InputError:
    """For a key that is not there: which ones are, and which one was probably meant."""
    names = list(allowed)
    close = get_close_matches(key.rpartition(".")[2], names, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return InputError(key, value, f"unknown key; {meant}allowed: {', '.join(names) or 'none'}")


def _spelled(value: object) -> str:
    """As it is typed on the command line."""
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


@dataclass(frozen=True)
class Failure:
    """Stands in place of an item's result when the item cannot be computed."""

    error: str

"""Downloads that fail at once and say what to do instead."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch

from xai_sweep.core.errors import InputError

_SECONDS = 5.0


def hub_file(name: str) -> Path:
    """Where `torch.hub` looks for a file of weights, and where a person may put one."""
    return Path(torch.hub.get_dir(), "checkpoints", name)


@contextmanager
def downloading(url: str, place: Path) -> Iterator[None]:
    """Load weights inside, which a library downloads unless they are at ``place``.

    Raises:
        InputError: the file cannot be had; says which file to put where.
    """
    try:
        if not place.exists():
            _reach(url)
        yield
    except OSError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            "model.weights",
            "default",
            f"cannot download {url} ({reason}); put that file at {place}, "
            "or give a file that you have with model.weights=PATH",
        ) from error
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise InputError(
            "model.weights",
            "default",
            f"{place} is damaged; delete it and put {url} there again",
        ) from error


def _reach(url: str) -> None:
    """Ask for the file's header: libraries try for minutes what fails here within seconds."""
    try:
        urlopen(Request(url, method="HEAD"), timeout=_SECONDS).close()
    except HTTPError:
        return  # the server has answered; the library knows its dialect better

"""Downloads that fail early, with a message that says what to do instead."""

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
    """Where `torch.hub` looks for a file of weights, and where the user may put one."""
    return Path(torch.hub.get_dir(), "checkpoints", name)


@contextmanager
def downloading(url: str, file: Path) -> Iterator[None]:
    """Load weights in the block; a library downloads them unless they are at ``file``.

    Raises:
        InputError: the download failed or the file is damaged; the message says which file to put
            where.
    """
    try:
        if not file.exists():
            _reach(url)
        yield
    except OSError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            "model.weights",
            "default",
            f"cannot download {url} ({reason}); put that file at {file}, "
            "or use another file with model.weights=PATH",
        ) from error
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise InputError(
            "model.weights",
            "default",
            f"{file} is damaged; delete it and put {url} there again",
        ) from error


def _reach(url: str) -> None:
    """Request the file's header: libraries retry for minutes what fails here within seconds."""
    try:
        urlopen(Request(url, method="HEAD"), timeout=_SECONDS).close()
    except HTTPError:
        return  # the server answers; the library may need other headers

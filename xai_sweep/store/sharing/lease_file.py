"""Lease files: what they hold, and the time on the file server."""

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from xai_sweep.store.process import machine, started

LEASES = "_lease-*.json"
DRAFTS = "_lease-*.draft"
# An owner counts as dead after so many seconds without a heartbeat, unless configured otherwise.
SILENT_SECONDS = 60.0


@dataclass(frozen=True)
class Holder:
    """The content of a lease file.

    Attributes:
        path: the file.
        owner: random name of the lease.
        host, pid, job: where its owner runs; `job` is a SLURM job or empty.
        machine: host, boot and process namespace in which `pid` means something; may be empty.
        started: when that process was started, in the kernel's count; None if not known.
        expires: seconds without a heartbeat after which it is dead; None if not known.
        images, there, seconds: images computed under it, images that existed before, and how
            long it has been held.
        heartbeat: when the file was last refreshed, by the file server's clock.
    """

    path: Path
    heartbeat: float
    owner: str = ""
    host: str = "an unknown host"
    pid: int = 0
    job: str = ""
    machine: str = ""
    started: int | None = None
    expires: float | None = None
    images: int = 0
    there: int = 0
    seconds: float = 0.0

    @property
    def generation(self) -> int:
        """How many leases the cell has had."""
        return generation_of(self.path)

    @property
    def who(self) -> str:
        """The job, for a message."""
        return f"pid {self.pid} on {self.host}" + (f" (SLURM job {self.job})" if self.job else "")

    def is_dead(self, now: float, seconds: float) -> bool:
        """Whether the cell may be taken over.

        Args:
            now: the file server's time, see `server_time`.
            seconds: silence that means death, if the lease itself has no limit.
        """
        if self.machine and self.machine == machine() and started(self.pid) != self.started:
            return True
        return now - self.heartbeat > (self.expires or seconds)


_WRITTEN = frozenset(each.name for each in fields(Holder)) - {"path", "heartbeat"}


def holder(folder: Path) -> Holder | None:
    """The newest lease of a cell, whether its owner is alive or not."""
    for path in sorted(folder.glob(LEASES), key=generation_of, reverse=True):
        with suppress(FileNotFoundError):
            return _read(path)
    return None


def server_time(folder: Path) -> float:
    """The time of the file system that a folder is on; this host's time if it is read-only."""
    try:
        with draft(folder, b"") as (_, now):
            return now
    except OSError:
        return time.time()


def _read(path: Path) -> Holder:
    """The content of a lease file.

    Raises:
        FileNotFoundError: it is gone.
    """
    for attempt in range(3):
        heartbeat, text = _opened(path)
        try:
            content: dict[str, Any] = json.loads(text)
        except ValueError:  # read while it was written, or written by a machine that died
            time.sleep(0.01 * attempt)
        else:
            known = {name: content[name] for name in _WRITTEN if name in content}
            return Holder(path, heartbeat, **known)
    return Holder(path, heartbeat)


def _opened(path: Path) -> tuple[float, bytes]:
    """Time of modification and content; NFS shows the current ones only to a newly opened file."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime, file.read()


@contextmanager
def draft(folder: Path, content: bytes) -> Iterator[tuple[Path, float]]:
    """A file, and when it was written by the file server's clock."""
    path = folder / f"_lease-{secrets.token_hex(8)}.draft"
    try:
        path.write_bytes(content)
        yield path, _opened(path)[0]
    finally:
        path.unlink(missing_ok=True)


def generation_of(path: Path) -> int:
    """The number in the name of a lease file."""
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0

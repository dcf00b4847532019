"""Who computes a cell: a lease in its folder, on any file system that several hosts may share.

A lease is a file `_lease-<generation>.json`, created exclusively; the newest generation holds the
cell. Its owner refreshes the file, so that its time of modification is a heartbeat by the file
server's own clock. A lease whose owner is dead or silent is taken over by creating the next
generation. An owner that was only suspended notices this before it gives a shard its name.
"""

import errno
import json
import os
import platform
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from xai_sweep.store.process import machine, slurm_job, started
from xai_sweep.store.sharing.lease_file import (
    DRAFTS,
    LEASES,
    Holder,
    draft,
    generation_of,
    holder,
)

# Rewritten in place at a constant length, so that a reader finds one version or the other.
_BYTES = 1024
# Heartbeats in the time after which a silent owner counts as dead.
_BEATS = 6
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class LeaseLostError(RuntimeError):
    """Another job has taken a cell over, because this one was silent for too long."""


@dataclass
class Lease:
    """A lease that this process holds.

    Attributes:
        path: its file.
        owner: its random name, which is also part of the names of the shards written under it.
        expires: seconds without a heartbeat after which it is dead.
        images: images computed under it, so that the job's progress can be seen.
        there: images whose rows existed before.
    """

    path: Path
    owner: str
    expires: float
    images: int = 0
    there: int = 0
    _since: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raise unless the cell is still this lease's.

        Raises:
            LeaseLostError: there is a newer lease, or this one has been removed.
        """
        newest = holder(self.path.parent)
        if newest is None or newest.owner != self.owner:
            by = f" by {newest.who}" if newest else ""
            raise LeaseLostError(f"{self.path.parent}: taken over{by}")

    def is_lost(self) -> bool:
        """Whether `check` would raise."""
        try:
            self.check()
        except LeaseLostError:
            return True
        return False

    def beat(self) -> None:
        """Refresh the file, if it still exists."""
        with suppress(FileNotFoundError):
            try:
                with self.path.open("r+b", buffering=0) as file:
                    file.write(self.content())
            except FileNotFoundError:
                raise
            except OSError:  # a full disk may refuse even this; setting the time needs no space
                with suppress(OSError):
                    os.utime(self.path)

    def release(self) -> None:
        """Remove the lease."""
        if not self.is_lost():
            self.path.unlink(missing_ok=True)

    def content(self) -> bytes:
        """The content of the file."""
        text = json.dumps(
            {
                "owner": self.owner,
                "host": platform.node()[:200],
                "pid": os.getpid(),
                "job": slurm_job(),
                "machine": machine(),
                "started": started(os.getpid()),
                "expires": self.expires,
                "images": self.images,
                "there": self.there,
                "seconds": round(time.monotonic() - self._since, 1),
            }
        )
        return text.encode().ljust(_BYTES - 1) + b"\n"


def acquire(folder: Path, seconds: float) -> Lease | Holder:
    """Take a cell, if it is free or its owner is dead.

    Args:
        folder: the cell's folder, made if it does not exist.
        seconds: the new lease counts as dead after so long without a heartbeat.

    Returns:
        The lease, or the holder of the existing one.

    Raises:
        OSError: the folder cannot be written.
    """
    owner = secrets.token_hex(4)
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        # The draft's time is the file server's; linking it is atomic over NFS too.
        with draft(folder, Lease(folder, owner, seconds).content()) as (path, now):
            current = holder(folder)
            if current is not None and not current.is_dead(now, seconds):
                return current
            generation = current.generation + 1 if current else 1
            lease = Lease(folder / f"_lease-{generation:05d}.json", owner, seconds)
            if not _create(path, lease.path):
                continue  # another process was faster
        if lease.is_lost():  # the directory listing was stale, and there is a newer generation
            lease.path.unlink(missing_ok=True)
            continue
        _tidy(folder, generation, now - seconds)
        return lease


class Leases:
    """Leases of one process, kept alive by a thread until the block ends."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._held: list[Lease] = []
        self._thread: threading.Thread | None = None
        self._end = threading.Event()

    def __enter__(self) -> "Leases":
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        for lease in list(self._held):
            self.release(lease)

    def acquire(self, folder: Path) -> Lease | Holder:
        """Take a cell, see the function `acquire`."""
        lease = acquire(folder, self.seconds)
        if isinstance(lease, Lease):
            self._held.append(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)
                self._thread.start()
        return lease

    def release(self, lease: Lease) -> None:
        """Give a cell back."""
        self._held.remove(lease)
        lease.release()

    def _beat(self) -> None:
        while not self._end.wait(self.seconds / _BEATS):
            for lease in list(self._held):
                lease.beat()


def _tidy(folder: Path, generation: int, before: float) -> None:
    """Remove older generations, and drafts of killed processes."""
    for old in folder.glob(LEASES):
        if generation_of(old) < generation:
            old.unlink(missing_ok=True)
    for path in folder.glob(DRAFTS):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()


def _create(source: Path, path: Path) -> bool:
    """Link the draft to a second name, unless that name is taken."""
    try:
        os.link(source, path)
    except FileExistsError:
        # If NFS loses an answer, the request is repeated and meets its own success.
        return source.stat().st_nlink == 2 and path.exists() and source.samefile(path)
    except FileNotFoundError:  # suspended for so long that the draft was removed
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        try:
            with path.open("xb") as file:
                file.write(source.read_bytes())
        except FileExistsError:
            return False
    return True

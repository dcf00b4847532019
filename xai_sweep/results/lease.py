"""Who computes a cell: a lease in its folder, on any file system that several hosts may share.

A lease is a file `_lease-<generation>.json`, created exclusively; the newest generation holds the
cell. Its owner refreshes the file, so that its time of modification is a heartbeat by the file
server's own clock. A lease whose owner is dead or silent is taken over by creating the next
generation. An owner that was only asleep finds that out before it gives a shard its name.
"""

import errno
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from xai_sweep.results.process import machine, slurm_job, started

LEASES = "_lease-*.json"
DRAFTS = "_lease-*.draft"
# Rewritten in place at a constant length, so that a reader finds one version or the other.
_BYTES = 1024
# Heartbeats within the time after which a silent owner counts as dead.
_BEATS = 6
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class LeaseLostError(RuntimeError):
    """Another job has taken a cell over, because this one was silent for too long."""


@dataclass(frozen=True)
class Holder:
    """What a lease file says.

    Attributes:
        path: the file.
        owner: random name of the lease.
        host, pid, job: where its owner runs; `job` is a SLURM job or empty.
        machine: host, boot and process namespace in which `pid` means something; may be empty.
        started: when that process was started, in the kernel's count; None if not known.
        expires: seconds without a heartbeat after which it is dead; None if not known.
        images, there, seconds: images computed under it, images that were there before, and how
            long it is held.
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
        """Counts how often the cell changed hands."""
        return _generation(self.path)

    @property
    def who(self) -> str:
        """For a person to read."""
        return f"pid {self.pid} on {self.host}" + (f" (SLURM job {self.job})" if self.job else "")

    def is_dead(self, now: float, seconds: float) -> bool:
        """Whether the cell may be taken over.

        Args:
            now: the file server's time, see `server_time`.
            seconds: silence that means death, if the lease itself does not say.
        """
        if self.machine and self.machine == machine() and started(self.pid) != self.started:
            return True
        return now - self.heartbeat > (self.expires or seconds)


_WRITTEN = frozenset(each.name for each in fields(Holder)) - {"path", "heartbeat"}


@dataclass
class Lease:
    """A lease that this process has.

    Attributes:
        path: its file.
        owner: its random name, which is also part of the names of the shards written under it.
        expires: seconds without a heartbeat after which it is dead.
        images: images computed under it, for whoever asks how the job gets on.
        there: images whose rows were there before.
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
        """Refresh the file, if it is still there."""
        with suppress(FileNotFoundError):
            try:
                descriptor = os.open(self.path, os.O_WRONLY)
                try:
                    os.pwrite(descriptor, self.content(), 0)
                finally:
                    os.close(descriptor)
            except FileNotFoundError:
                raise
            except OSError:  # a full disk may refuse even this; the time alone needs no room
                with suppress(OSError):
                    os.utime(self.path)

    def release(self) -> None:
        """Give the cell up."""
        if not self.is_lost():
            self.path.unlink(missing_ok=True)

    def content(self) -> bytes:
        """What stands in the file."""
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
        folder: the cell's folder, made if it is not there.
        seconds: without a heartbeat for so long the new lease will count as dead.

    Returns:
        The lease, or whoever has it.

    Raises:
        OSError: the folder cannot be written.
    """
    owner = secrets.token_hex(4)
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        # The draft's time is the file server's; linking it is atomic over NFS too.
        with _draft(folder, Lease(folder, owner, seconds).content()) as (draft, now):
            current = holder(folder)
            if current is not None and not current.is_dead(now, seconds):
                return current
            generation = current.generation + 1 if current else 1
            lease = Lease(folder / f"_lease-{generation:05d}.json", owner, seconds)
            if not _create(draft, lease.path):
                continue  # another was faster
        if lease.is_lost():  # the folder's list was old, and there is a newer generation
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
        """See `acquire`."""
        lease = acquire(folder, self.seconds)
        if isinstance(lease, Lease):
            self._held.append(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)
                self._thread.start()
        return lease

    def release(self, lease: Lease) -> None:
        """Give a cell up."""
        self._held.remove(lease)
        lease.release()

    def _beat(self) -> None:
        while not self._end.wait(self.seconds / _BEATS):
            for lease in list(self._held):
                lease.beat()


def holder(folder: Path) -> Holder | None:
    """The newest lease of a cell, whether its owner is alive or not."""
    for path in sorted(folder.glob(LEASES), key=_generation, reverse=True):
        with suppress(FileNotFoundError):
            return _read(path)
    return None


def server_time(folder: Path) -> float:
    """What time it is for the file system on which a folder lies.

    Where nothing can be written it is this host's time.
    """
    try:
        with _draft(folder, b"") as (_, now):
            return now
    except OSError:
        return time.time()


def _read(path: Path) -> Holder:
    """What a lease file says.

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
    """Time of modification and content; on NFS only a file opened anew shows the present ones."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime, file.read()


@contextmanager
def _draft(folder: Path, content: bytes) -> Iterator[tuple[Path, float]]:
    """A file, and when it was written by the file server's clock."""
    draft = folder / f"_lease-{secrets.token_hex(8)}.draft"
    try:
        draft.write_bytes(content)
        yield draft, _opened(draft)[0]
    finally:
        draft.unlink(missing_ok=True)


def _tidy(folder: Path, generation: int, before: float) -> None:
    """Remove older generations, and drafts of killed processes."""
    for old in folder.glob(LEASES):
        if _generation(old) < generation:
            old.unlink(missing_ok=True)
    for draft in folder.glob(DRAFTS):
        with suppress(FileNotFoundError):
            if draft.stat().st_mtime < before:
                draft.unlink()


def _create(draft: Path, path: Path) -> bool:
    """Give the draft a second name, unless that name is taken."""
    try:
        os.link(draft, path)
    except FileExistsError:
        # An answer that NFS lost makes it ask again, and find its own success.
        return draft.stat().st_nlink == 2 and path.exists() and draft.samefile(path)
    except FileNotFoundError:  # asleep for so long that the draft was tidied away
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        try:
            with path.open("xb") as file:
                file.write(draft.read_bytes())
        except FileExistsError:
            return False
    return True


def _generation(path: Path) -> int:
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0

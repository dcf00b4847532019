"""Several jobs on one results folder, also on different hosts: no cell is computed twice."""

import logging
import time
from collections.abc import Generator, Iterable, Mapping, Sequence

from xai_sweep.store.entries import Entries
from xai_sweep.store.sharing.lease import Leases
from xai_sweep.store.sharing.lease_file import Holder, server_time
from xai_sweep.store.store import Store

# How often to look whether a cell that another job holds has become free.
_LOOK_SECONDS = 5.0

log = logging.getLogger(__name__)


class Turns:
    """Takes cells for this job, one group after the other, until the block ends.

    Args:
        store: its folders carry the leases of the cells that are taken, see `Store.cell`.
        wanted: the metric entries that are wanted of each cell, by the name of its folder.
        seconds: a lease without a heartbeat for so long may be taken over.
        force: complete cells are computed again, unless another job did so meanwhile.
    """

    def __init__(
        self, store: Store, wanted: Mapping[str, Entries], seconds: float, force: bool = False
    ) -> None:
        self.store = store
        self.wanted = wanted
        self.force = force
        self._leases = Leases(seconds)
        self._old: dict[str, object] = {}
        self._holders: dict[str, Holder] = {}
        self._named: set[str] = set()

    def __enter__(self) -> "Turns":
        return self

    def __exit__(self, *error: object) -> None:
        self.store.leases.clear()
        self._leases.__exit__(*error)

    def take(self, cells: Iterable[str], most: int | None = None) -> list[str]:
        """Take those that are not complete and that no other job computes.

        Args:
            cells: to choose from, in this order.
            most: take no more than so many.
        """
        taken: list[str] = []
        for name in cells:
            if len(taken) == most:
                break
            if self._is_done(name):
                continue
            lease = self._leases.acquire(self.store.root / "cells" / name)
            if isinstance(lease, Holder):
                self._holders[name] = lease
                continue
            # The job that had it may have completed it since.
            if self._is_done(name):
                self._leases.release(lease)
                continue
            self.store.leases[name] = lease
            taken.append(name)
        return taken

    def release(self, cells: Iterable[str]) -> list[str]:
        """Give cells back.

        Returns:
            Those that another job had taken over, and that are not this job's work any more.
        """
        lost = []
        for name in cells:
            lease = self.store.leases.pop(name)
            if lease.is_lost():
                lost.append(name)
            self._leases.release(lease)
        return lost

    def missing(self, cells: Iterable[str]) -> list[str]:
        """Those that still have to be computed, by this job or another one."""
        return [name for name in cells if not self._is_done(name)]

    def wait(self, cells: Sequence[str]) -> None:
        """Wait a moment for cells that other jobs hold; names each of these jobs once."""
        for name in cells:
            holder = self._holders.get(name)
            if holder is not None and holder.owner not in self._named:
                self._named.add(holder.owner)
                self._warn(name, holder)
        time.sleep(min(_LOOK_SECONDS, self._leases.seconds / 4))

    def _warn(self, name: str, holder: Holder) -> None:
        age = max(0.0, server_time(self.store.root) - holder.heartbeat)
        limit = holder.expires or self._leases.seconds
        log.warning(
            "%s is computed by %s, last heartbeat %.0f s ago: waiting until it is complete, "
            "or silent for %.0f s",
            *(name, holder.who, age, limit),
        )

    def _is_done(self, name: str) -> bool:
        cell = self.store.cell(name)
        if not self.force:
            return cell.missing(self.wanted[name]) == set()
        manifest = cell.manifest()
        if manifest is None:
            return False
        finished = manifest.get("finished", "")
        is_new = finished != self._old.setdefault(name, finished)
        return is_new and cell.missing(self.wanted[name]) == set()


def turns(
    store: Store,
    wanted: Mapping[str, Entries],
    seconds: float,
    force: bool = False,
    most: int | None = None,
) -> Generator[list[str], None, None]:
    """Groups of cells that this job must compute now, until all are complete.

    First come all that are free, at most `most` at once. Those that other jobs hold come later, if
    a job gives one up or dies; the last step waits until they are complete. A cell that was in a
    group comes again only if another job took it over and died.

    Args:
        store: the results folder.
        wanted: the metric entries that are wanted of each cell, by the name of its folder. A
            complete cell that lacks one has to be computed.
        seconds: see `Turns`.
        force: see `Turns`.
        most: cells in a group.

    Raises:
        InputError: a cell holds a wanted entry with another configuration.
    """
    left = list(wanted)
    with Turns(store, wanted, seconds, force) as mine:
        while left := mine.missing(left):
            group = mine.take(left, most)
            if group:
                yield group
                lost = mine.release(group)
                left = [name for name in left if name not in group or name in lost]
            elif left := mine.missing(left):
                mine.wait(left)

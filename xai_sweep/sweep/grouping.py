"""The curves of a group: compute what is missing, publish each complete curve."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai_sweep.config.cells import Cell, digest
from xai_sweep.store.entries import Entries
from xai_sweep.store.sharing.turns import turns
from xai_sweep.store.store import Store
from xai_sweep.sweep.failure_log import FailureLog
from xai_sweep.sweep.job import Job
from xai_sweep.sweep.observing import observers
from xai_sweep.sweep.plan import plan_curve
from xai_sweep.sweep.publishing import Publisher
from xai_sweep.sweep.requests import Group, RequestedCurve

if TYPE_CHECKING:
    from xai_sweep.sweep.compute import Shared

# So many cells share a pass over the images. Each holds heatmaps of its worst images in memory,
# about 30 MB; for every pass the clean images are explained again.
CELLS_AT_ONCE = 32


def compute_group(group: Group, job: Job, log: FailureLog) -> None:
    """Compute the missing cells of curves that share their cases; publish every curve."""
    curves = list(group.curves.values())
    with log.curves(*curves):
        store = Store(Path(group.cfg.results))
        for curve in curves:
            plan_curve(store.root, curve, len(group.files))
    if any(map(log.has, curves)):
        return
    todo: dict[str, list[RequestedCurve]] = {}
    for curve in curves:
        with log.curves(curve):
            todo[curve.curve.name] = _unfinished(curve, store, force=group.cfg.force)
    with Publisher(group, store, job, log) as publisher:
        for name, parts in todo.items():
            if not parts:
                publisher.publish(group.curves[name])
        _GroupRun(group, store, job, log, publisher, todo).run()


@dataclass
class _GroupRun:
    """The computation of a group's unfinished cells.

    Attributes:
        todo: what is unfinished of each curve, by name: parts that differ in their metrics.
        begun: folders of the cells whose computation has begun.
        shared: the network and the method, once they are loaded.
    """

    group: Group
    store: Store
    job: Job
    log: FailureLog
    publisher: Publisher
    todo: Mapping[str, Sequence[RequestedCurve]]
    begun: set[str] = field(default_factory=set)
    shared: "Shared | None" = None

    @property
    def parts(self) -> list[RequestedCurve]:
        """All that is unfinished."""
        return [part for parts in self.todo.values() for part in parts]

    def run(self) -> None:
        """Compute portion by portion, as other jobs on the same results folder allow."""
        with closing(self._portions()) as portions:
            for portion in portions:
                if self.log.stopped:
                    break
                self.begun |= set(portion)
                for together in _passes(self._in(portion)):
                    self._pass(together)
                if self.shared is None and all(map(self.log.has, self.parts)):
                    return
        for name, parts in self.todo.items():  # what other jobs completed meanwhile
            if parts and not self.log.stopped and not self.log.has(parts[0]):
                self.publisher.publish(self.group.curves[name])

    def _portions(self) -> Any:
        cfg = self.group.cfg
        wanted = {cell.folder: part.metrics for part in self.parts for cell in part.cells}
        return turns(self.store, wanted, cfg.lease_seconds, cfg.force, CELLS_AT_ONCE)

    def _in(self, portion: Sequence[str]) -> list[RequestedCurve]:
        """What of a portion is unfinished, now that no other job computes it."""
        found: list[RequestedCurve] = []
        for part in self.parts:
            cells = [cell for cell in part.cells if cell.folder in portion]
            if cells and not self.log.has(part):
                with self.log.curves(part):
                    # Another job may have completed a cell with other metrics meanwhile.
                    force = self.group.cfg.force
                    found += _unfinished(part.only(cells), self.store, force=force)
        return found

    def _pass(self, parts: Sequence[RequestedCurve]) -> None:
        """Compute cells in one pass over the images; publish the curves that are then complete."""
        # Lightning takes seconds to import, which a job with nothing to do need not pay.
        from xai_sweep.sweep.compute import prepare

        try:
            for part in parts:
                self.publisher.open(part)
            if self.shared is None:
                self.shared = prepare(self.group, self.store)
                for observer in observers():
                    observer.prepared(self.shared.classifier)
        except Exception as error:
            self.log.add(error, *(parts if self.shared else self.parts))
            return
        for part in self._computed(self.shared, parts):
            name = part.curve.name
            self.publisher.computed[name] += len(part.cells)
            is_last = self.begun.issuperset(
                cell.folder for unfinished in self.todo[name] for cell in unfinished.cells
            )
            whole = self.group.curves[name]
            # Another job may have taken over some of its cells.
            if is_last and not _unfinished(whole, self.store):
                self.publisher.publish(whole)

    def _computed(self, shared: "Shared", parts: Sequence[RequestedCurve]) -> list[RequestedCurve]:
        """Compute cells; returns those parts that did not fail."""
        from xai_sweep.sweep.compute import compute

        for observer in observers():
            observer.computing([cell for part in parts for cell in part.cells])
        try:
            compute(shared, self.job.sweep, self.store, parts, force=self.group.cfg.force)
        except Exception as error:
            # A full disk is not the fault of one curve.
            if len(parts) == 1 or isinstance(error, OSError):
                self.log.add(error, *parts)
                return []
        else:
            return list(parts)
        # One of them spoils it for the others: one by one, each goes on from where it is.
        complete: list[RequestedCurve] = []
        for part in parts:
            if not self.log.stopped:
                with self.log.curves(part):
                    compute(shared, self.job.sweep, self.store, [part])
                    complete.append(part)
        return complete


def _unfinished(
    curve: RequestedCurve, store: Store, *, force: bool = False
) -> list[RequestedCurve]:
    """What has to be computed of a curve, in parts of the same metrics.

    A complete cell that lacks a metric is computed with those that it has and those that are
    wanted.

    Raises:
        InputError: a complete cell has a metric with other parameters.
    """
    found: dict[str, tuple[Entries, list[Cell]]] = {}
    for cell in curve.cells:
        folder = store.cell(cell.folder)
        missing = None if force else folder.missing(curve.metrics)
        if missing is None or missing:
            metrics = folder.union(curve.metrics, force)
            found.setdefault(digest(metrics), (metrics, []))[1].append(cell)
    return [
        (curve if metrics == curve.metrics else curve.measured_by(metrics)).only(cells)
        for metrics, cells in found.values()
    ]


def _passes(parts: Iterable[RequestedCurve]) -> list[list[RequestedCurve]]:
    """Parts that share a pass over the images: those of the same metrics."""
    found: dict[str, list[RequestedCurve]] = {}
    for part in parts:
        found.setdefault(digest(part.metrics), []).append(part)
    return list(found.values())

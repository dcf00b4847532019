"""The curves of a group: compute what is missing, hand in each curve, note what fails."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from omegaconf import OmegaConf

from xai_sweep.config.cells import Cell
from xai_sweep.config.names import axes, run_name
from xai_sweep.config.root import build
from xai_sweep.core.errors import InputError
from xai_sweep.report.content import load_rows
from xai_sweep.report.pictures import FIGURES, publish_curve, publish_side_by_side
from xai_sweep.report.publishing import publish
from xai_sweep.report.terminal import print_outcome, print_summary
from xai_sweep.store.failures import forget
from xai_sweep.store.sharing.turns import turns
from xai_sweep.store.store import Store
from xai_sweep.sweep.failure_log import Notes
from xai_sweep.sweep.job import Job
from xai_sweep.sweep.plan import register
from xai_sweep.sweep.requests import Asked, Group
from xai_sweep.tracking import Logger, Tracker

if TYPE_CHECKING:
    from xai_sweep.sweep.compute import Shared

# So many cells share a pass over the images. Each holds heatmaps of its worst images in memory,
# about 30 MB; the clean images are explained again for every so many only.
CELLS_AT_ONCE = 32


def compute_group(group: Group, job: Job, notes: Notes) -> None:
    """Compute the missing cells of curves that share model, data and explainer; then report."""
    curves = list(group.curves.values())
    force = group.cfg.force
    with notes.of(*curves):
        store = Store(Path(group.cfg.results))
        for asked in curves:
            register(store.root, asked.cells, len(group.files))
        missing = {asked.curve.name: _missing(asked, group, store, force) for asked in curves}
    if any(map(notes.is_bad, curves)):
        return
    desk = _Desk(group, store, job, notes)
    for asked in curves:
        if not missing[asked.curve.name]:
            desk.hand_in(asked)
    waiting = [asked.only(cells) for asked in curves if (cells := missing[asked.curve.name])]
    wanted = {cell.folder: _metrics(group) for asked in waiting for cell in asked.cells}
    shared: Shared | None = None
    begun: set[str] = set()
    with (
        desk,
        closing(turns(store, wanted, group.cfg.lease_seconds, force, CELLS_AT_ONCE)) as portions,
    ):
        for portion in portions:
            if notes.stopped:
                break
            begun |= set(portion)
            part = [
                asked.only(cells)
                for asked in waiting
                if (cells := [cell for cell in asked.cells if cell.folder in portion])
                and not notes.is_bad(asked)
            ]
            if not part:
                continue
            # Lightning takes seconds to import, which a job with nothing to do need not pay.
            from xai_sweep.sweep.compute import prepare

            try:
                for asked in part:
                    desk.open(asked)
                shared = shared or prepare(group, store)
            except Exception as error:
                notes.add(error, *(part if shared else waiting))
                if shared is None:
                    return
                continue
            for asked in _computed(shared, part, job, store, notes, force=force):
                desk.computed[asked.curve.name] += len(asked.cells)
                is_last = begun.issuperset(cell.folder for cell in missing[asked.curve.name])
                whole = group.curves[asked.curve.name]
                # Another job may have taken over some of its cells.
                if is_last and not _missing(whole, group, store):
                    desk.hand_in(whole)
        for asked in waiting:  # what other jobs completed meanwhile
            if not notes.stopped and not notes.is_bad(asked):
                desk.hand_in(group.curves[asked.curve.name])


def _metrics(group: Group) -> dict[str, Any]:
    return OmegaConf.to_container(group.cfg.metric, resolve=True)  # type: ignore[return-value]


def _missing(asked: Asked, group: Group, store: Store, force: bool = False) -> list[Cell]:
    wanted = _metrics(group)
    return [
        cell for cell in asked.cells if force or store.cell(cell.folder).missing(wanted) != set()
    ]


def _computed(
    shared: "Shared", curves: Sequence[Asked], job: Job, store: Store, notes: Notes, *, force: bool
) -> list[Asked]:
    """Compute some cells, and say of which curves they are complete."""
    from xai_sweep.sweep.compute import compute

    try:
        compute(shared, job.sweep, store, curves, force=force)
    except Exception as error:
        # A full disk is not the fault of one curve.
        if len(curves) == 1 or isinstance(error, OSError):
            notes.add(error, *curves)
            return []
    else:
        return list(curves)
    # One of them spoils it for the others: apart, each goes on from where it is.
    complete: list[Asked] = []
    for asked in curves:
        if not notes.stopped:
            with notes.of(asked):
                compute(shared, job.sweep, store, [asked])
                complete.append(asked)
    return complete


@dataclass
class _Desk:
    """Where curves are handed in: rows to the screen, pictures, and the log of each."""

    group: Group
    store: Store
    job: Job
    notes: Notes
    computed: Counter[str] = field(default_factory=Counter)
    _open: dict[str, Tracker] = field(default_factory=dict)
    _handed_in: set[str] = field(default_factory=set)

    def __enter__(self) -> "_Desk":
        return self

    def __exit__(self, *_: object) -> None:
        """What was not handed in has failed."""
        for tracker in self._open.values():
            tracker.finish(exit_code=1)
        self._open.clear()

    def open(self, asked: Asked) -> None:
        """Open a curve's log, if it is not open."""
        name = asked.curve.name
        if name in self._open:
            return
        logger: Logger = build(self.group.cfg.logger)
        folder = self.job.output / "log"
        if len(self.group.curves) > 1:
            folder /= name
        whole = self.group.curves[name]
        cfg = OmegaConf.create(whole.config)
        magnitudes = [cell.magnitude for cell in whole.cells]
        tracker = logger.start(
            folder,
            name=run_name(cfg, asked.choices, asked.curve, magnitudes),
            group=self.job.sweep,
            axes=axes(asked.curve),
        )
        self._open[name] = tracker
        tracker.config(whole.config)

    def hand_in(self, asked: Asked) -> None:
        """Show a complete curve, and finish its log; once."""
        if asked.curve.name in self._handed_in:
            return
        self._handed_in.add(asked.curve.name)
        with self.notes.of(asked):
            self._hand_in(asked)

    def _hand_in(self, asked: Asked) -> None:
        cfg, name = self.group.cfg, asked.curve.name
        rows = self._rows(asked)
        places: dict[str, object] = {
            "rows": self.store.root / "cells",
            "pictures": self.store.root / FIGURES / name if cfg.pictures else None,
        }
        if name in self._open:
            pictures = publish_curve(self.store.root, name, cfg.strips) if cfg.pictures else {}
            if cfg.side_by_side:
                pictures |= publish_side_by_side(self.store.root)
            cells = [self.store.cell(cell.folder).path for cell in asked.cells]
            publish(self._open[name], rows, pictures, cells)
            _refuse_if_all_failed(rows, asked.curve.data)
            tracker = self._open.pop(name)
            tracker.finish()
            places["log"] = tracker.location
        print_summary(rows)
        print_outcome(cells=len(asked.cells), computed=self.computed[name], places=places)
        _refuse_if_all_failed(rows, asked.curve.data)
        self._forget(asked)

    def _rows(self, asked: Asked) -> pd.DataFrame:
        cells = [self.store.cell(cell.folder).path for cell in asked.cells]
        return load_rows(cells)

    def _forget(self, asked: Asked) -> None:
        """Remove earlier records of failures that no longer hold."""
        forget(
            self.store.root,
            asked.curve.name,
            asked.overrides,
            lambda folder: self.store.cell(folder).manifest() is not None,
        )


def _refuse_if_all_failed(rows: pd.DataFrame, data: str) -> None:
    if rows["error"].notna().all():
        raise InputError("data", data, f"every image failed: {rows['error'].iloc[0]}")

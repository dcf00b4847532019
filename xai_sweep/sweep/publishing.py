"""A complete curve is published once: its table on the screen, its pictures, and its log."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd
from omegaconf import OmegaConf

from xai_sweep.config.building import build, built_metrics
from xai_sweep.config.names import axes, run_name
from xai_sweep.core.errors import InputError, SomeFailedError
from xai_sweep.metrics.base import Metric, Need
from xai_sweep.report.content import failed_images, load_rows
from xai_sweep.report.pictures import FIGURES, publish_curve, publish_side_by_side
from xai_sweep.report.publishing import publish
from xai_sweep.report.terminal import print_outcome, print_summary
from xai_sweep.statistics.missing import without_number
from xai_sweep.store.failures import forget
from xai_sweep.store.store import Store
from xai_sweep.sweep.failure_log import FailureLog
from xai_sweep.sweep.job import Job
from xai_sweep.sweep.observing import observers
from xai_sweep.sweep.requests import Group, RequestedCurve
from xai_sweep.tracking import Logger, Tracker


@dataclass
class Publisher:
    """Publishes the curves of a group.

    Attributes:
        group: the group.
        store: the results folder.
        job: the job.
        log: takes what fails.
        computed: how many cells of each curve this job computed, by the curve's name.
    """

    group: Group
    store: Store
    job: Job
    log: FailureLog
    computed: Counter[str] = field(default_factory=Counter)
    _trackers: dict[str, Tracker] = field(default_factory=dict)
    _published: set[str] = field(default_factory=set)

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, *_: object) -> None:
        """Curves that were not published have failed."""
        for tracker in self._trackers.values():
            tracker.finish(exit_code=1)
        self._trackers.clear()

    def open(self, curve: RequestedCurve) -> None:
        """Open a curve's log, if it is not open."""
        name = curve.curve.name
        if name in self._trackers:
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
            name=run_name(cfg, curve.choices, curve.curve, magnitudes),
            group=self.job.sweep,
            axes=axes(curve.curve),
        )
        self._trackers[name] = tracker
        tracker.config(whole.config)

    def publish(self, curve: RequestedCurve) -> None:
        """Publish a complete curve, unless it was published before."""
        if curve.curve.name in self._published:
            return
        self._published.add(curve.curve.name)
        with self.log.curves(curve):
            self._publish(curve)

    def _publish(self, curve: RequestedCurve) -> None:
        cfg, name = self.group.cfg, curve.curve.name
        cells = [self.store.cell(cell.folder).path for cell in curve.cells]
        rows = load_rows(cells)
        metrics = built_metrics(curve.metrics)
        without = _without_any_number(rows, metrics)
        places: dict[str, object] = {
            "failed": failed_images(rows),
            "rows": self.store.root / "cells",
            "pictures": self.store.root / FIGURES / name if cfg.pictures else None,
        }
        if name in self._trackers:
            pictures = publish_curve(self.store.root, name, cfg.strips) if cfg.pictures else {}
            if cfg.side_by_side:
                pictures |= publish_side_by_side(self.store.root)
            publish(self._trackers[name], rows, pictures, cells)
            _refuse_if_all_failed(rows, curve.curve.data)
            tracker = self._trackers.pop(name)
            tracker.finish(exit_code=1 if without else 0)
            places["log"] = tracker.location
        declared = [column for metric in metrics.values() for column in metric.columns]
        print_summary(rows, {column.name: column.null for column in declared})
        print_outcome(cells=len(curve.cells), computed=self.computed[name], places=places)
        _refuse_if_all_failed(rows, curve.curve.data)
        if without:
            raise SomeFailedError(without, code=1)
        self._forget_failures(curve)
        for observer in observers():
            observer.published(curve.curve)

    def _forget_failures(self, curve: RequestedCurve) -> None:
        forget(
            self.store.root,
            curve.curve.name,
            curve.overrides,
            lambda folder: self.store.cell(folder).manifest() is not None,
        )


def _refuse_if_all_failed(rows: pd.DataFrame, data: str) -> None:
    if rows["error"].notna().all():
        first = rows.iloc[0]
        why = f"every image failed: {first['error']} ({first.image_id})"
        raise InputError("data", data, f"{why}; the rows say why, image by image")


def _without_any_number(rows: pd.DataFrame, metrics: Mapping[str, Metric]) -> str:
    """What to say if a magnitude has no image with a number of some metric; empty if all have.

    Empty too if the setting decides it: a control's heatmaps may be constant, a method that draws
    nothing has no second draw, and a metric may need motion or annotations that are not there.
    Where sound heatmaps may lack a number of one metric, the others decide.
    """
    by_heatmaps = [
        column
        for metric in metrics.values()
        if metric.needs <= {Need.PAIR, Need.MODEL}
        for column in metric.columns
    ]
    deciding = [column for column in by_heatmaps if not column.null_is_sound] or by_heatmaps
    found = without_number(rows[~rows["is_control"]], [column.name for column in deciding])
    empty = found[found["missing"] == found["images"]]
    if empty.empty:
        return ""
    names = ", ".join(dict.fromkeys(empty["metric"]))
    points = ", ".join(f"{each:g}" for each in dict.fromkeys(empty["magnitude"]))
    return (
        f"no image has a number of {names} at {rows['parameter'].iloc[0]}={points}: the heatmaps "
        "are not finite, or show nothing; the rows are there, look at them or choose another "
        "method or layer"
    )

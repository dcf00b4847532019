"""One job: build what the configuration names, skip what is done, predict, hand in."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from xai_sweep.cells import Cell, make_curve
from xai_sweep.config import build, check, entries, plain
from xai_sweep.data import ImageSet, fingerprint
from xai_sweep.errors import InputError
from xai_sweep.models import ModelSource
from xai_sweep.naming import axes, run_name
from xai_sweep.question import Question
from xai_sweep.report import FIGURES, draw, draw_side_by_side, say, show, track
from xai_sweep.results import Store
from xai_sweep.results import load as load_rows
from xai_sweep.tracking import Logger, Tracker
from xai_sweep.transforms import Transform
from xai_sweep.transforms.base import as_magnitudes


@dataclass(frozen=True)
class Job:
    """Where a job stands in its sweep.

    Attributes:
        choices: the chosen entry of each group.
        sweep: the name of the multirun, or of the single run.
        output: the job's own folder.
    """

    choices: Mapping[str, str]
    sweep: str
    output: Path

    @classmethod
    def from_hydra(cls) -> "Job":
        """The job that Hydra is running.

        Raises:
            InputError: several entries of a group that takes one.
        """
        hydra = HydraConfig.get()
        given = dict(word.split("=", 1) for word in hydra.overrides.task if "=" in word)
        for group in ("data", "model", "explainer", "transform"):
            if group not in hydra.runtime.choices:
                allowed = f"must be one of {', '.join(entries(group))}"
                raise InputError(group, given.get(group, ""), allowed)
        output = Path(hydra.runtime.output_dir)
        several = hydra.mode == RunMode.MULTIRUN
        return cls(
            choices={group: str(entry) for group, entry in hydra.runtime.choices.items()},
            sweep=output.parent.name if several else output.name,
            output=output,
        )


def run(cfg: DictConfig, job: Job) -> None:
    """Compute the cells that a configuration names and that are not finished yet; then report.

    Raises:
        InputError: the configuration asks for what cannot be done; nothing was lost.
    """
    check(cfg)
    store = Store(Path(cfg.results))
    source: ModelSource = build(cfg.model)
    transform: Transform = build(cfg.transform)
    images: ImageSet = build(cfg.data)
    files = images.files()
    question = Question(
        cfg.seed, cfg.ranks, cfg.target, cfg.region, _region_of(cfg.region_of, transform)
    )
    curve = make_curve(
        cfg,
        job.choices,
        parameter=transform.parameter,
        weights=source.identity() | build(cfg.explainer).identity(),
        data=fingerprint(files),
        region_of=question.region_of,
    )
    cells = [Cell(curve, magnitude) for magnitude in transform.magnitudes]
    waiting = [c for c in cells if cfg.force or store.cell(c.folder).manifest() is None]
    places: dict[str, object] = {
        "rows": store.root / "cells",
        "pictures": store.root / FIGURES / curve.name if cfg.pictures else None,
    }
    if waiting:
        # Lightning takes seconds to import, which a job with nothing to do need not pay.
        from xai_sweep.compute import compute

        name = run_name(cfg, job.choices, curve, transform.magnitudes)
        with _tracking(cfg, job, name, axes(curve)) as tracker:
            compute(cfg, job.sweep, store, waiting, files, source, transform, question)
            rows = _rows(store, cells)
            pictures = draw(store.root, curve.name, cfg.strips) if cfg.pictures else {}
            if cfg.side_by_side:
                pictures |= draw_side_by_side(store.root)
            track(tracker, rows, pictures, [store.cell(cell.folder).path for cell in cells])
            _refuse_if_all_failed(rows, curve.data)
        places["log"] = tracker.location
    else:
        rows = _rows(store, cells)
    show(rows)
    say(cells=len(cells), computed=len(waiting), places=places)
    _refuse_if_all_failed(rows, curve.data)


@contextmanager
def _tracking(cfg: DictConfig, job: Job, name: str, axes: Mapping[str, str]) -> Iterator[Tracker]:
    """The job's log: finished if the job is, failed if it raises."""
    logger: Logger = build(cfg.logger)
    tracker = logger.start(job.output / "log", name=name, group=job.sweep, axes=axes)
    tracker.config(plain(cfg))
    try:
        yield tracker
    except BaseException:
        tracker.finish(exit_code=1)
        raise
    tracker.finish()


def _refuse_if_all_failed(rows: pd.DataFrame, data: str) -> None:
    if rows["error"].notna().all():
        raise InputError("data", data, f"every image failed: {rows['error'].iloc[0]}")


def _rows(store: Store, cells: Sequence[Cell]) -> pd.DataFrame:
    frames = [load_rows(store.cell(cell.folder).path) for cell in cells]
    return pd.concat(frames, ignore_index=True)


def _region_of(value: Any, transform: Transform) -> tuple[float, ...]:
    if value == "own":
        return ()
    if value == "all":
        return transform.magnitudes
    try:
        return as_magnitudes("region_of", value, transform.unit)
    except InputError:
        raise InputError("region_of", value, "must be own, all, or a list of numbers") from None

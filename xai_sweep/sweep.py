"""One job: build what the configuration names, skip what is done, predict, hand in."""

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from pytorch_lightning.callbacks import BasePredictionWriter

from xai_sweep.cells import Cell, make_curve
from xai_sweep.config import build, check, plain
from xai_sweep.data import ImageFile, ImageModule, ImageSet, fingerprint
from xai_sweep.errors import InputError
from xai_sweep.manifest import constant_columns, manifest
from xai_sweep.models import ModelSource, load
from xai_sweep.probe import Probe, Question
from xai_sweep.progress import Progress
from xai_sweep.report import FIGURES, draw, say, show, track
from xai_sweep.results import Store
from xai_sweep.results import load as load_rows
from xai_sweep.results.writer import CellWriter
from xai_sweep.tracking import Logger, Tracker
from xai_sweep.transforms import Transform
from xai_sweep.transforms.base import as_magnitudes

# Images the loader hands over at once: enough to fill the batches of a slow or a fast device.
_LOADED = {"cpu": 8, "cuda": 64}
# Heatmaps are large, so fewer images share a file if all are kept.
_SHARD_WITH_HEATMAPS = 32


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
        """The job that Hydra is running."""
        hydra = HydraConfig.get()
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
        weights=source.identity(),
        data=fingerprint(files),
        region_of=question.region_of,
    )
    cells = [Cell(curve, magnitude) for magnitude in transform.magnitudes]
    waiting = [c for c in cells if cfg.force or store.cell(c.folder).manifest() is None]
    places: dict[str, object] = {
        "rows": store.root / "cells",
        "pictures": store.root / FIGURES / curve.name,
    }
    if waiting:
        with _tracking(cfg, job, curve.title) as tracker:
            compute(cfg, job, store, waiting, files, source, transform, question)
            rows = _rows(store, cells)
            track(tracker, rows, draw(store.root, curve.name, cfg.strips))
        places["log"] = tracker.location
    else:
        rows = _rows(store, cells)
    show(rows)
    say(cells=len(cells), computed=len(waiting), places=places)
    if rows["error"].notna().all():
        raise InputError("data", curve.data, f"every image failed: {rows['error'].iloc[0]}")


def compute(
    cfg: DictConfig,
    job: Job,
    store: Store,
    cells: Sequence[Cell],
    files: Sequence[ImageFile],
    source: ModelSource,
    transform: Transform,
    question: Question,
) -> None:
    """Fill unfinished cells of one curve; images whose rows are there already are left out."""
    device = _device(cfg.device)
    explainer = build(cfg.explainer)
    metrics = {name: build(node) for name, node in cfg.metric.items()}
    classifier = load(source)
    keep_worst = cfg.keep_worst if cfg.keep_heatmaps == "worst" else None
    writers = {}
    for cell in cells:
        folder = store.cell(cell.folder)
        done = folder.begin(force=cfg.force)
        writers[cell.magnitude] = CellWriter(
            folder,
            done,
            constant_columns(cell, job.sweep),
            shard_images=min(cfg.shard_images, _SHARD_WITH_HEATMAPS)
            if cfg.keep_heatmaps == "all"
            else cfg.shard_images,
            keep_worst=keep_worst,
        )
    finished = frozenset.intersection(*(writer.done for writer in writers.values()))
    todo = [file for file in files if file.image_id not in finished]
    probe = Probe(
        classifier,
        explainer,
        transform,
        list(writers),
        metrics,
        question,
        batch_size=None if cfg.batch_size == "auto" else cfg.batch_size,
        draws=cfg.keep_heatmaps != "none",
    )
    images = ImageModule(
        todo,
        classifier.preprocess,
        batch_size=_LOADED[device] if cfg.batch_size == "auto" else cfg.batch_size,
        workers=_workers(len(todo)) if cfg.workers == "auto" else cfg.workers,
    )
    start = time.perf_counter()
    if todo:
        progress = Progress(cells[0].curve.title, len(files), done=len(files) - len(todo))
        _predict(cfg, probe, images, [_HandIn(writers), progress])
    seconds = time.perf_counter() - start
    for cell in cells:
        writer = writers[cell.magnitude]
        counts = writer.close(expected=len(files))
        writer.folder.finish(manifest(cell, plain(cfg), device, counts, seconds), keep_worst)


class _HandIn(BasePredictionWriter):
    """Gives every comparison to the writer of its cell."""

    def __init__(self, writers: Mapping[float, CellWriter]) -> None:
        super().__init__("batch")
        self.writers = writers

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        for comparison in prediction:
            self.writers[comparison.magnitude].add(
                comparison.image_id, comparison.rows, comparison.drawing
            )


def _predict(
    cfg: DictConfig, probe: Probe, images: ImageModule, callbacks: list[pl.Callback]
) -> None:
    # Lightning's remarks about devices and its tips are not for the reader of a sweep.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
        trainer: pl.Trainer = build(
            cfg.trainer,
            logger=False,
            callbacks=callbacks,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            inference_mode=False,  # gradients are what many explainers are made of
        )
        trainer.predict(probe, datamodule=images, return_predictions=False)


@contextmanager
def _tracking(cfg: DictConfig, job: Job, name: str) -> Iterator[Tracker]:
    """The job's log: finished if the job is, failed if it raises."""
    logger: Logger = build(cfg.logger)
    tracker = logger.start(job.output / "log", name=name, group=job.sweep)
    tracker.config(plain(cfg))
    try:
        yield tracker
    except BaseException:
        tracker.finish(exit_code=1)
        raise
    tracker.finish()


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


def _device(asked: str) -> str:
    available = torch.cuda.is_available()
    if asked == "cuda" and not available:
        raise InputError("device", asked, "no CUDA device is available; must be auto or cpu")
    return "cuda" if available and asked != "cpu" else "cpu"


def _workers(images: int) -> int:
    # Starting processes is not worth it for a handful of images.
    return 0 if images < 16 else min(4, os.cpu_count() or 1)

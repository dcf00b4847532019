"""One job: build what the configuration names, skip what is done, predict, hand in."""

import logging
import os
import platform
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from xai_sweep import __version__, results
from xai_sweep.cells import Cell, Curve, make_curve
from xai_sweep.config import CONF, check
from xai_sweep.data import ImageFile, ImageModule, fingerprint
from xai_sweep.errors import InputError
from xai_sweep.models import ModelSource, load
from xai_sweep.probe import Probe, Question
from xai_sweep.progress import Progress
from xai_sweep.report import FIGURES, draw, say, show, track
from xai_sweep.results import Store, schema
from xai_sweep.results.writer import CellWriter
from xai_sweep.tracking import Logger, Tracker
from xai_sweep.transforms import Transform
from xai_sweep.transforms.base import as_magnitudes

log = logging.getLogger(__name__)

LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "timm", "captum", "numpy", "pillow")

# Images the loader hands over at once: enough to fill the batches of a slow or a fast device.
_LOADED = {"cpu": 8, "cuda": 64}


@dataclass(frozen=True)
class Job:
    """Where a job stands in its sweep.

    Attributes:
        choices: the chosen entry of each group.
        sweep: the name of the multirun, or of the single run.
        name: what was typed, or "defaults".
        output: the job's own folder.
    """

    choices: Mapping[str, str]
    sweep: str
    name: str
    output: Path

    @classmethod
    def from_hydra(cls) -> "Job":
        """The job that Hydra is running."""
        hydra = HydraConfig.get()
        output = Path(hydra.runtime.output_dir)
        several = hydra.mode is not None and hydra.mode.name == "MULTIRUN"
        return cls(
            choices=dict(hydra.runtime.choices),
            sweep=output.parent.name if several else output.name,
            name=" ".join(hydra.overrides.task) or "defaults",
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
    files = build(cfg.data).files()
    region_of = _region_of(cfg.region_of, transform)
    curve = make_curve(
        cfg,
        job.choices,
        parameter=transform.parameter,
        weights=source.identity(),
        data=fingerprint(files),
        region_of=list(region_of),
    )
    cells = [Cell(curve, magnitude) for magnitude in transform.magnitudes]
    waiting = [c for c in cells if cfg.force or store.cell(c.folder).manifest() is None]
    places = {"rows": store.root / "cells", "pictures": store.root / FIGURES / curve.name}
    if waiting:
        with _tracking(cfg, job, curve) as tracker:
            question = Question(cfg.seed, cfg.ranks, cfg.target, cfg.region, region_of)
            compute(cfg, job, store, waiting, files, source, transform, question)
            rows = _rows(store, cells)
            track(tracker, rows, draw(store.root, curve.name, cfg.strips))
        places["log"] = tracker.location
    else:
        rows = _rows(store, cells)
    show(rows)
    say(cells=len(cells), computed=len(waiting), places=places)


def _rows(store: Store, cells: Sequence[Cell]) -> pd.DataFrame:
    return pd.concat([results.load(store.cell(cell.folder).path) for cell in cells])


@contextmanager
def _tracking(cfg: DictConfig, job: Job, curve: Curve) -> Iterator[Tracker]:
    """The job's log: finished if the job is, failed if it raises."""
    logger: Logger = build(cfg.logger)
    tracker = logger.start(job.output / "logger")
    tracker.config(OmegaConf.to_container(cfg, resolve=True))
    try:
        yield tracker
    except BaseException:
        tracker.finish(exit_code=1)
        raise
    tracker.finish()


def build(node: DictConfig, **extra: Any) -> Any:
    """What a group's entry describes.

    Raises:
        InputError: a parameter makes no sense, or the target is not of this package.
    """
    target = str(node.get("_target_"))
    if not target.startswith(("xai_sweep.", "pytorch_lightning.")):
        raise InputError("_target_", target, "must be a class of xai_sweep or pytorch_lightning")
    try:
        return instantiate(node, **extra)
    except InstantiationException as error:
        # Hydra wraps what a constructor raises.
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise


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
    explainer = build(cfg.explainer)
    metrics = {name: build(node) for name, node in cfg.metric.items()}
    classifier = load(source)
    device = _device(cfg.device)
    keep = cfg.keep_heatmaps
    folders = {cell: store.cell(cell.folder) for cell in cells}
    done = {cell: folders[cell].begin(force=cfg.force) for cell in cells}
    everywhere = frozenset.intersection(*done.values())
    todo = [file for file in files if file.image_id not in everywhere]
    writers = {
        cell.magnitude: CellWriter(
            folders[cell],
            done[cell],
            _constant_columns(cell, job, question),
            shard_images=min(cfg.shard_images, 32) if keep == "all" else cfg.shard_images,
            keep_worst=cfg.keep_worst if keep == "worst" else None,
        )
        for cell in cells
    }
    probe = Probe(
        classifier,
        explainer,
        transform,
        list(writers),
        metrics,
        question,
        batch_size=None if cfg.batch_size == "auto" else cfg.batch_size,
        draws=keep != "none",
    )
    images = ImageModule(
        todo,
        classifier.preprocess,
        batch_size=_LOADED[device] if cfg.batch_size == "auto" else cfg.batch_size,
        workers=_workers(len(todo)) if cfg.workers == "auto" else cfg.workers,
    )
    start = time.perf_counter()
    if todo:
        progress = Progress(cells[0].curve, total=len(files), done=len(files) - len(todo))
        _predict(cfg, probe, images, [_Writing(writers), progress])
    seconds = time.perf_counter() - start
    for cell in cells:
        counts = writers[cell.magnitude].close(expected=len(files))
        manifest = _manifest(cfg, cell, source, device, counts, seconds)
        folders[cell].finish(manifest, keep_worst=cfg.keep_worst if keep == "worst" else None)


class _Writing(pl.callbacks.BasePredictionWriter):
    """Hands every comparison to the writer of its cell."""

    def __init__(self, writers: Mapping[float, CellWriter]) -> None:
        super().__init__("batch")
        self.writers = writers

    def write_on_batch_end(self, *args: Any, **kwargs: Any) -> None:
        prediction = kwargs["prediction"] if "prediction" in kwargs else args[2]
        for comparison in prediction:
            self.writers[comparison.magnitude].add(
                comparison.image_id, comparison.rows, comparison.drawing
            )


def _predict(
    cfg: DictConfig, probe: Probe, images: ImageModule, callbacks: list[pl.Callback]
) -> None:
    # Lightning's remarks about devices and tips are not for the reader of a sweep.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*`isinstance\\(treespec, LeafSpec\\)`.*")
        trainer = build(
            cfg.trainer,
            logger=False,
            callbacks=callbacks,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            # Gradients are what many explainers are made of.
            inference_mode=False,
        )
        trainer.predict(probe, datamodule=images, return_predictions=False)
    if trainer.interrupted:
        raise KeyboardInterrupt


def _constant_columns(cell: Cell, job: Job, question: Question) -> dict[str, Any]:
    # Every metric of the catalogue is a column, so that all cells read as one table.
    metrics = [file.stem for file in (CONF / "metric").glob("*.yaml")]
    return {
        **dict.fromkeys(schema(metrics).names),
        "cell": cell.key,
        "sweep": job.sweep,
        "model": cell.curve.model,
        "explainer": cell.curve.explainer,
        "transform": cell.curve.transform,
        "parameter": cell.curve.parameter,
        "magnitude": cell.magnitude,
        "seed": question.seed,
    }


def _manifest(
    cfg: DictConfig,
    cell: Cell,
    source: ModelSource,
    device: str,
    counts: Mapping[str, int],
    seconds: float,
) -> dict[str, Any]:
    return {
        "cell": cell.key,
        "curve": cell.curve.name,
        "model": cell.curve.model,
        "explainer": cell.curve.explainer,
        "transform": cell.curve.transform,
        "parameter": cell.curve.parameter,
        "magnitude": cell.magnitude,
        "science": cell.science,
        "config": OmegaConf.to_container(cfg, resolve=True),
        "weights": source.identity(),
        "data": cell.science["data"],
        "seed": cfg.seed,
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "cpu",
        "host": platform.node(),
        "versions": {
            "xai_sweep": __version__,
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
        "counts": dict(counts),
        "seconds": round(seconds, 3),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _region_of(value: Any, transform: Transform) -> tuple[float, ...]:
    if value == "own":
        return ()
    if value == "all":
        return transform.magnitudes
    try:
        return as_magnitudes("region_of", value, transform.unit)
    except InputError as error:
        raise InputError("region_of", value, "must be own, all, or a list of numbers") from error


def _device(asked: str) -> str:
    available = torch.cuda.is_available()
    if asked == "cuda" and not available:
        raise InputError("device", asked, "no CUDA device is available; must be auto or cpu")
    return "cuda" if available and asked != "cpu" else "cpu"


def _workers(images: int) -> int:
    # Starting processes is not worth it for a handful of images.
    return 0 if images < 16 else min(4, os.cpu_count() or 1)

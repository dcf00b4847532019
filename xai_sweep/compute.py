"""Fill unfinished cells: the only part of a job that needs the network."""

import ctypes
import logging
import os
import platform
import signal
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from omegaconf import DictConfig
from pytorch_lightning.callbacks import BasePredictionWriter

from xai_sweep.cells import Cell
from xai_sweep.config import build, plain
from xai_sweep.data import ImageFile
from xai_sweep.data.module import ImageModule
from xai_sweep.errors import InputError
from xai_sweep.explainers import Accounted, Explainer, Fittable
from xai_sweep.fitting import fitted
from xai_sweep.manifest import constant_columns, manifest
from xai_sweep.models import Classifier, ModelSource, load, sample
from xai_sweep.probe import Probe
from xai_sweep.progress import Progress
from xai_sweep.question import Question
from xai_sweep.ranks import in_ranks
from xai_sweep.results import Store
from xai_sweep.results.cell_folder import CellFolder
from xai_sweep.results.writer import CellWriter
from xai_sweep.transforms import Transform

# Images the loader hands over at once: enough to fill the batches of a slow or a fast device.
_LOADED = {"cpu": 8, "cuda": 64}
# Heatmaps are large, so fewer images share a file if all are kept.
_SHARD_WITH_HEATMAPS = 32
# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class _Work:
    """What is to be done for some cells of one curve; can be sent to another process."""

    cfg: DictConfig
    sweep: str
    store: Store
    cells: Sequence[Cell]
    files: Sequence[ImageFile]
    source: ModelSource
    transform: Transform
    question: Question

    @property
    def device(self) -> str:
        return _device(self.cfg.trainer.accelerator)

    @property
    def keep_worst(self) -> int | None:
        return self.cfg.keep_worst if self.cfg.keep_heatmaps == "worst" else None


def compute(
    cfg: DictConfig,
    sweep: str,
    store: Store,
    cells: Sequence[Cell],
    files: Sequence[ImageFile],
    source: ModelSource,
    transform: Transform,
    question: Question,
) -> None:
    """Fill unfinished cells of one curve; images whose rows are there already are left out."""
    work = _Work(cfg, sweep, store, cells, files, source, transform, question)
    devices = _devices(cfg.trainer, work.device)
    probe = _probe(work)
    notes = _checked(probe.explainer, probe.classifier)
    folders = [store.cell(cell.folder) for cell in cells]
    done = [folder.begin(force=cfg.force) for folder in folders]
    writers = _writers(work, folders, done)
    start = time.perf_counter()
    todo = _todo(work, writers)
    devices = devices[: max(1, len(todo))]
    if len(devices) == 1:
        _fill(work, probe, writers, devices)
    else:
        in_ranks(len(devices), _fill_a_part, devices, work, done)
    seconds = time.perf_counter() - start
    for cell, writer in zip(cells, writers, strict=True):
        counts = writer.close(expected=len(files))
        of_cell = manifest(cell, plain(cfg), work.device, counts, seconds, notes)
        writer.folder.finish(of_cell, work.keep_worst)


def _probe(work: _Work) -> Probe:
    """The experiment: with its network loaded, and its method fitted if it needs to be."""
    _keep_freed_memory()
    cfg = work.cfg
    explainer = build(cfg.explainer)
    metrics = {name: build(node) for name, node in cfg.metric.items()}
    classifier = load(work.source)
    if isinstance(explainer, Fittable):
        classifier.module.to(work.device)
        science = work.cells[0].curve.science
        explainer = fitted(explainer, classifier, work.files, work.store.root, science)
    return Probe(
        classifier,
        explainer,
        work.transform,
        [cell.magnitude for cell in work.cells],
        metrics,
        work.question,
        batch_size=None if cfg.batch_size == "auto" else cfg.batch_size,
        draws=cfg.keep_heatmaps != "none",
    )


def _writers(
    work: _Work, folders: Sequence[CellFolder], done: Sequence[frozenset[str]]
) -> list[CellWriter]:
    shard_images = work.cfg.shard_images
    if work.cfg.keep_heatmaps == "all":
        shard_images = min(shard_images, _SHARD_WITH_HEATMAPS)
    return [
        CellWriter(folder, names, constant_columns(cell, work.sweep), shard_images, work.keep_worst)
        for cell, folder, names in zip(work.cells, folders, done, strict=True)
    ]


def _todo(work: _Work, writers: Sequence[CellWriter]) -> list[ImageFile]:
    """The images that have no rows yet in one cell at least."""
    finished = frozenset.intersection(*(writer.done for writer in writers))
    return [file for file in work.files if file.image_id not in finished]


def _fill(
    work: _Work, probe: Probe, writers: Sequence[CellWriter], devices: list[int], rank: int = 0
) -> None:
    """Compute the images that are left; of several devices each its share."""
    cfg, cells, device = work.cfg, work.cells, work.device
    todo = _todo(work, writers)
    if not todo:
        return
    images = ImageModule(
        todo,
        probe.classifier.preprocess,
        batch_size=_LOADED[device] if cfg.batch_size == "auto" else cfg.batch_size,
        workers=_workers(len(todo), device) if cfg.workers == "auto" else cfg.workers,
    )
    callbacks: list[pl.Callback] = [
        _HandIn({cell.magnitude: writer for cell, writer in zip(cells, writers, strict=True)})
    ]
    if rank == 0:
        before = len(work.files) - len(todo)
        callbacks.append(Progress(cells[0].curve.title, len(work.files), before, len(devices)))
    _predict(cfg, probe, images, callbacks, devices)


def _fill_a_part(
    rank: int, devices: list[int], work: _Work, done: Sequence[frozenset[str]]
) -> None:
    """What one of several processes does: its share of the images, into shards of its own."""
    folders = [work.store.cell(cell.folder).every(len(devices), rank) for cell in work.cells]
    writers = _writers(work, folders, done)
    _fill(work, _probe(work), writers, devices, rank)
    for writer in writers:
        writer.flush()


def _checked(explainer: Explainer, classifier: Classifier) -> dict[str, Any]:
    """What there is to say of this explainer and this network, before any image is explained.

    Raises:
        InputError: the network cannot be explained; names the layer.
    """
    explain = explainer.bind(classifier)
    if not isinstance(explain, Accounted):
        return {}
    notes = dict(explain.notes(sample(classifier)))
    for operation in notes.get("unsupported", []):
        print(f"warning: {operation}: passed as input times gradient", file=sys.stderr)
    return notes


class _HandIn(BasePredictionWriter):
    """Gives every comparison to the writer of its cell."""

    def __init__(self, writers: Mapping[float, CellWriter]) -> None:
        super().__init__("batch")
        self.writers = writers
        self.told_to_stop = False

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take SIGTERM as a request to stop after this batch.

        Lightning only takes it down, and with several ranks first waits for all of them to get
        one. It puts back what was there before when it is done.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self.told_to_stop = True

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
        if self.told_to_stop:
            raise KeyboardInterrupt

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Keep what there is: the next run goes on from there."""
        for writer in self.writers.values():
            writer.flush()


def _predict(
    cfg: DictConfig,
    probe: Probe,
    images: ImageModule,
    callbacks: list[pl.Callback],
    devices: list[int],
) -> None:
    # Lightning's remarks about devices and its tips are not for the reader of a sweep.
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
        trainer: pl.Trainer = build(
            cfg.trainer,
            strategy="ddp" if len(devices) > 1 else "auto",
            devices=devices if _device(cfg.trainer.accelerator) == "cuda" else len(devices),
            logger=False,
            callbacks=callbacks,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            inference_mode=False,  # gradients are what many explainers are made of
            # Lightning's guess would be SLURM wherever SLURM is, which asks for a task per device.
            plugins=[LightningEnvironment()],
        )
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.predict(probe, datamodule=images, return_predictions=False)
        except SystemExit as leaving:
            # Lightning's answer to Ctrl+C, after which it ignores the next one; or submitit's
            # when SLURM's time is over, which has queued the job again.
            signal.signal(signal.SIGINT, on_interrupt)
            if isinstance(leaving.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise


def _keep_freed_memory() -> None:
    """Ask glibc to keep freed blocks of a few megabytes, which is what heatmaps are made of.

    Otherwise they go back to the kernel and come again page by page, which is a large part of a
    job's system time. Memory does not grow by it beyond its peak.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _device(asked: str) -> str:
    available = torch.cuda.is_available()
    if asked == "gpu" and not available:
        raise InputError("trainer", asked, "no CUDA device is available; must be default or cpu")
    if asked == "cuda" and not available:
        raise InputError("device", asked, "no CUDA device is available; must be auto or cpu")
    return "cuda" if available and asked != "cpu" else "cpu"


def _devices(trainer: DictConfig, device: str) -> list[int]:
    """The devices that share a job's images, a process each; on a CPU only their number counts."""
    asked = plain(trainer).get("devices", "auto")
    there = torch.cuda.device_count()
    if asked == "auto":
        chosen = list(range(there if device == "cuda" else 1))
    elif type(asked) is int and asked >= 1:
        chosen = list(range(asked))
    elif isinstance(asked, list) and asked and all(type(number) is int for number in asked):
        chosen = asked
    else:
        allowed = "must be auto, a whole number of at least 1, or a list of GPUs"
        raise InputError("trainer.devices", asked, allowed)
    if device == "cuda" and not set(chosen) <= set(range(there)):
        allowed = f"there are {there} GPUs here, counted from 0"
        raise InputError("trainer.devices", asked, allowed)
    if len(chosen) > 1 and trainer.get("strategy") != "ddp":
        raise InputError("trainer.devices", asked, "must be 1; several are for trainer=ddp")
    if trainer.get("num_nodes", 1) != 1:
        allowed = "must be 1; more machines are for more jobs"
        raise InputError("trainer.num_nodes", trainer.num_nodes, allowed)
    return chosen


def _workers(images: int, device: str) -> int:
    # On a CPU readers would take cores from the network; a handful of images is read at once.
    return 0 if device == "cpu" or images < 16 else min(4, os.cpu_count() or 1)

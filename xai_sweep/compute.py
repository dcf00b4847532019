"""Fill unfinished cells: the only part of a job that needs the network."""

import ctypes
import logging
import os
import platform
import signal
import sys
import textwrap
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import BasePredictionWriter

from xai_sweep.asked import Asked, Group
from xai_sweep.config import build
from xai_sweep.data import ImageFile
from xai_sweep.data.module import ImageModule
from xai_sweep.errors import InputError
from xai_sweep.explainers import Accounted, Explainer, Fittable
from xai_sweep.fitting import fitted
from xai_sweep.manifest import constant_columns, manifest
from xai_sweep.models import Classifier, load, sample
from xai_sweep.probe import Probe
from xai_sweep.progress import Progress
from xai_sweep.results import Store
from xai_sweep.results.lease import LeaseLostError
from xai_sweep.results.writer import CellWriter

# Images the loader hands over at once: enough to fill the batches of a slow or a fast device,
_LOADED = {"cpu": 8, "cuda": 64}
# fewer where so many cells want to draw them that their heatmaps would fill the memory.
_CELLS_DRAWN = 10
# Heatmaps are large, so fewer images share a file if all are kept.
_SHARD_WITH_HEATMAPS = 32
# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True, eq=False)
class Shared:
    """What the curves of a group have in common.

    Attributes:
        cfg: the configuration; what it says of the change does not count.
        device: ``cpu`` or ``cuda``.
        files: the images.
        classifier: the network, loaded.
        explainer: the method, fitted if it has to be.
        notes: what it says of this network.
    """

    cfg: DictConfig
    device: str
    files: Sequence[ImageFile]
    classifier: Classifier
    explainer: Explainer
    notes: Mapping[str, Any]


def prepare(group: Group, store: Store) -> Shared:
    """Load the network and make the method ready for it, once for all curves of a group.

    Raises:
        InputError: the network cannot be had or explained, or the device is not there.
    """
    cfg = group.cfg
    device = _device(cfg.device)
    _keep_freed_memory()
    explainer = build(cfg.explainer)
    classifier = load(group.source)
    if isinstance(explainer, Fittable):
        classifier.module.to(device)
        # What decides a fit is the same for all curves of a group.
        science = next(iter(group.curves.values())).curve.science
        explainer = fitted(explainer, classifier, group.files, store.root, science)
    notes = _checked(explainer, classifier)
    return Shared(cfg, device, group.files, classifier, explainer, notes)


def compute(
    shared: Shared, sweep: str, store: Store, curves: Sequence[Asked], *, force: bool = False
) -> None:
    """Fill unfinished cells of some curves; images whose rows are there already are left out.

    Args:
        shared: what the curves have in common.
        sweep: the name of the multirun, or of the single run.
        store: the results folder.
        curves: all of their cells are computed.
        force: leave no image out.
    """
    cfg, files = shared.cfg, shared.files
    metrics = {name: build(node) for name, node in cfg.metric.items()}
    keep_worst = cfg.keep_worst if cfg.keep_heatmaps == "worst" else None
    cells = {
        (index, cell.magnitude): (asked, cell)
        for index, asked in enumerate(curves)
        for cell in asked.cells
    }
    writers = {}
    for place, (_, cell) in cells.items():
        folder = store.cell(cell.folder)
        done = folder.begin(force=force)
        writers[place] = CellWriter(
            folder,
            done,
            constant_columns(cell, sweep),
            shard_images=min(cfg.shard_images, _SHARD_WITH_HEATMAPS)
            if cfg.keep_heatmaps == "all"
            else cfg.shard_images,
            keep_worst=keep_worst,
        )
    finished = frozenset.intersection(*(writer.done for writer in writers.values()))
    todo = [file for file in files if file.image_id not in finished]
    probe = Probe(
        shared.classifier,
        shared.explainer,
        [asked.change for asked in curves],
        metrics,
        batch_size=None if cfg.batch_size == "auto" else cfg.batch_size,
        draws=cfg.keep_heatmaps != "none",
    )
    images = ImageModule(
        todo,
        shared.classifier.preprocess,
        batch_size=_loaded(shared.device, len(cells), probe.draws)
        if cfg.batch_size == "auto"
        else cfg.batch_size,
        workers=_workers(len(todo), shared.device) if cfg.workers == "auto" else cfg.workers,
    )
    start = time.perf_counter()
    if todo:
        progress = Progress(_title(curves), len(files), done=len(files) - len(todo))
        _predict(cfg, probe, images, [_HandIn(writers), progress])
    seconds = time.perf_counter() - start
    for writer in writers.values():  # before one of them may turn out not to be complete
        writer.flush()
    for place, (asked, cell) in cells.items():
        writer = writers[place]
        with suppress(LeaseLostError):  # another job has taken over, and completes it
            counts = writer.close(expected=len(files))
            config = asked.configs[cell.folder]
            of_cell = manifest(cell, config, shared.device, counts, seconds, shared.notes)
            writer.folder.finish(of_cell, keep_worst)


def _title(curves: Sequence[Asked]) -> str:
    """What is computed, for the progress bar: what the curves share stands there once."""
    first = curves[0].curve
    transforms = ", ".join(dict.fromkeys(asked.curve.transform for asked in curves))
    return f"{first.model} · {first.explainer} · {textwrap.shorten(transforms, 80)}"


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

    def __init__(self, writers: Mapping[tuple[int, float], CellWriter]) -> None:
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
            self.writers[comparison.change, comparison.magnitude].add(
                comparison.image_id, comparison.rows, comparison.drawing
            )
        if trainer.received_sigterm:  # which Lightning only takes down when it predicts
            raise KeyboardInterrupt

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Keep what there is: the next run goes on from there."""
        for writer in self.writers.values():
            writer.flush()


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
        if trainer.world_size > 1:
            raise InputError("trainer.devices", cfg.trainer.devices, "must be 1")
        on_interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.predict(probe, datamodule=images, return_predictions=False)
        except SystemExit:  # Lightning's answer to Ctrl+C, after which it ignores the next one
            signal.signal(signal.SIGINT, on_interrupt)
            raise KeyboardInterrupt from None


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
    if asked == "cuda" and not available:
        raise InputError("device", asked, "no CUDA device is available; must be auto or cpu")
    return "cuda" if available and asked != "cpu" else "cpu"


def _loaded(device: str, cells: int, draws: bool) -> int:
    fewer = max(1, cells // _CELLS_DRAWN) if draws else 1
    return max(4, _LOADED[device] // fewer)


def _workers(images: int, device: str) -> int:
    # On a CPU readers would take cores from the network; a handful of images is read at once.
    return 0 if device == "cpu" or images < 16 else min(4, os.cpu_count() or 1)

"""Fill unfinished cells: the only part of a job that needs the network."""

import ctypes
import logging
import os
import platform
import signal
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from omegaconf import DictConfig
from pytorch_lightning.callbacks import BasePredictionWriter

from xai_sweep.asked import Asked, Group
from xai_sweep.cells import Cell
from xai_sweep.config import build, plain
from xai_sweep.data import ImageFile
from xai_sweep.data.module import ImageModule
from xai_sweep.errors import InputError
from xai_sweep.explainers import Accounted, Explainer, Fittable
from xai_sweep.fitting import fitted
from xai_sweep.manifest import constant_columns, manifest
from xai_sweep.models import Classifier, load, sample
from xai_sweep.probe import Probe
from xai_sweep.progress import Progress
from xai_sweep.ranks import in_ranks
from xai_sweep.results import Store
from xai_sweep.results.cell_folder import CellFolder
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
        group: the curves and their images; what its configuration says of the change does not
            count.
        devices: that share the images, a process each.
        device: ``cpu`` or ``cuda``.
        classifier: the network, loaded.
        explainer: the method, fitted if it has to be.
        notes: what it says of this network.
    """

    group: Group
    devices: Sequence[int]
    device: str
    classifier: Classifier
    explainer: Explainer
    notes: Mapping[str, Any]


def prepare(group: Group, store: Store) -> Shared:
    """Load the network and make the method ready for it, once for all curves of a group.

    Raises:
        InputError: the network cannot be had or explained, or the device is not there.
    """
    device = _device(group.cfg.trainer.accelerator)
    devices = _devices(group.cfg.trainer, device)
    classifier, explainer = _ready(group, store, device)
    return Shared(group, devices, device, classifier, explainer, _checked(explainer, classifier))


def _ready(group: Group, store: Store, device: str) -> tuple[Classifier, Explainer]:
    _keep_freed_memory()
    explainer = build(group.cfg.explainer)
    classifier = load(group.source)
    if isinstance(explainer, Fittable):
        classifier.module.to(device)
        # What decides a fit is the same for all curves of a group.
        science = next(iter(group.curves.values())).curve.science
        explainer = fitted(explainer, classifier, group.files, store.root, science)
    return classifier, explainer


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
    cfg, files = shared.group.cfg, shared.group.files
    places = _places(curves)
    folders = [store.cell(cell.folder) for _, cell in places.values()]
    done = [folder.begin(force=force) for folder in folders]
    writers = _writers(cfg, sweep, places, folders, done)
    todo = _todo(files, done)
    devices = shared.devices[: max(1, len(todo))]
    start = time.perf_counter()
    if len(devices) > 1:
        in_ranks(len(devices), _fill_a_part, devices, shared.group, sweep, store, curves, done)
    elif todo:
        _fill(shared, curves, todo, writers, devices)
    seconds = time.perf_counter() - start
    for writer in writers.values():  # before one of them may turn out not to be complete
        writer.flush()
    for place, (asked, cell) in places.items():
        writer = writers[place]
        with suppress(LeaseLostError):  # another job has taken over, and completes it
            counts = writer.close(expected=len(files))
            config = asked.configs[cell.folder]
            of_cell = manifest(cell, config, shared.device, counts, seconds, shared.notes)
            writer.folder.finish(of_cell, writer.keep_worst)


# A cell by its curve's number and its magnitude, as comparisons carry them.
_Place = tuple[int, float]


def _places(curves: Sequence[Asked]) -> dict[_Place, tuple[Asked, Cell]]:
    return {
        (index, cell.magnitude): (asked, cell)
        for index, asked in enumerate(curves)
        for cell in asked.cells
    }


def _writers(
    cfg: DictConfig,
    sweep: str,
    places: Mapping[_Place, tuple[Asked, Cell]],
    folders: Sequence[CellFolder],
    done: Sequence[frozenset[str]],
) -> dict[_Place, CellWriter]:
    keep_all = cfg.keep_heatmaps == "all"
    shard_images = min(cfg.shard_images, _SHARD_WITH_HEATMAPS) if keep_all else cfg.shard_images
    keep_worst = cfg.keep_worst if cfg.keep_heatmaps == "worst" else None
    return {
        place: CellWriter(folder, names, constant_columns(cell, sweep), shard_images, keep_worst)
        for (place, (_, cell)), folder, names in zip(places.items(), folders, done, strict=True)
    }


def _todo(files: Sequence[ImageFile], done: Sequence[frozenset[str]]) -> list[ImageFile]:
    """The images that have no rows yet in one cell at least."""
    finished = frozenset.intersection(*done)
    return [file for file in files if file.image_id not in finished]


def _fill(
    shared: Shared,
    curves: Sequence[Asked],
    todo: Sequence[ImageFile],
    writers: Mapping[_Place, CellWriter],
    devices: Sequence[int],
    rank: int = 0,
) -> None:
    """Compute images; of several devices each its share."""
    cfg, device = shared.group.cfg, shared.device
    probe = Probe(
        shared.classifier,
        shared.explainer,
        [asked.change for asked in curves],
        {name: build(node) for name, node in cfg.metric.items()},
        batch_size=None if cfg.batch_size == "auto" else cfg.batch_size,
        draws=cfg.keep_heatmaps != "none",
    )
    images = ImageModule(
        todo,
        shared.classifier.preprocess,
        batch_size=_loaded(device, len(writers), probe.draws)
        if cfg.batch_size == "auto"
        else cfg.batch_size,
        workers=_workers(len(todo), device) if cfg.workers == "auto" else cfg.workers,
    )
    callbacks: list[pl.Callback] = [_HandIn(writers)]
    if rank == 0:
        total = len(shared.group.files)
        callbacks.append(Progress(_title(curves), total, total - len(todo), len(devices)))
    _predict(cfg, probe, images, callbacks, devices)


def _fill_a_part(
    rank: int,
    devices: Sequence[int],
    group: Group,
    sweep: str,
    store: Store,
    curves: Sequence[Asked],
    done: Sequence[frozenset[str]],
) -> None:
    """What one of several processes does: its share of the images, into shards of its own."""
    device = _device(group.cfg.trainer.accelerator)
    shared = Shared(group, devices, device, *_ready(group, store, device), notes={})
    places = _places(curves)
    folders = [store.cell(cell.folder).every(len(devices), rank) for _, cell in places.values()]
    writers = _writers(group.cfg, sweep, places, folders, done)
    _fill(shared, curves, _todo(group.files, done), writers, devices, rank)
    for writer in writers.values():
        writer.flush()


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

    def __init__(self, writers: Mapping[_Place, CellWriter]) -> None:
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
            self.writers[comparison.change, comparison.magnitude].add(
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
    devices: Sequence[int],
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
            devices=list(devices) if _device(cfg.trainer.accelerator) == "cuda" else len(devices),
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


def _loaded(device: str, cells: int, draws: bool) -> int:
    fewer = max(1, cells // _CELLS_DRAWN) if draws else 1
    return max(4, _LOADED[device] // fewer)


def _workers(images: int, device: str) -> int:
    # On a CPU readers would take cores from the network; a handful of images is read at once.
    return 0 if device == "cpu" or images < 16 else min(4, os.cpu_count() or 1)

"""Fill unfinished cells: the only part of a job that needs the network."""

import ctypes
import platform
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from xai_sweep.config.cells import Cell, digest
from xai_sweep.config.cells import asked as asked_of
from xai_sweep.config.controls import is_control
from xai_sweep.config.root import build
from xai_sweep.core.columns import Column
from xai_sweep.data import ImageFile
from xai_sweep.data.loader import ImageModule
from xai_sweep.explainers import Accounted, Explainer, Fittable
from xai_sweep.models import Classifier, load, sample
from xai_sweep.store.cell_folder import CellFolder
from xai_sweep.store.manifest import flat, manifest
from xai_sweep.store.sharing.lease import Lease, LeaseLostError
from xai_sweep.store.store import Store
from xai_sweep.store.writer import CellWriter
from xai_sweep.study import devices
from xai_sweep.study.fitting import fitted
from xai_sweep.study.predicting import HandIn, Place, predict
from xai_sweep.study.probe import Probe
from xai_sweep.sweep.processes import in_ranks
from xai_sweep.sweep.progress import Progress
from xai_sweep.sweep.requests import Asked, Group

# Heatmaps are large, so fewer images share a file if all are kept.
_SHARD_WITH_HEATMAPS = 32
# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True, eq=False)
class Shared:
    """What the curves of a group have in common.

    Attributes:
        group: the group; what its configuration says of the change does not count.
        device: ``cpu`` or ``cuda``.
        devices: the devices that share the images, a process each.
        classifier: the network, loaded.
        explainer: the method, fitted if it has to be.
        notes: what it says of this network.
    """

    group: Group
    device: str
    devices: list[int]
    classifier: Classifier
    explainer: Explainer
    notes: Mapping[str, Any]


def prepare(group: Group, store: Store) -> Shared:
    """Load the network and make the method ready for it, once for all curves of a group.

    Raises:
        InputError: the network cannot be had or explained, or the device is not there.
    """
    shared = _load(group, store)
    return replace(shared, notes=_checked(shared.explainer, shared.classifier))


def _load(group: Group, store: Store) -> Shared:
    """The same without a look at what the method will do with the network."""
    trainer = group.cfg.trainer
    device = devices.kind(trainer.accelerator)
    _keep_freed_memory()
    explainer = build(group.cfg.explainer)
    classifier = load(group.source)
    if isinstance(explainer, Fittable):
        classifier.module.to(device)
        # What decides a fit is the same for all curves of a group.
        science = next(iter(group.curves.values())).curve.science
        explainer = fitted(explainer, classifier, group.files, store.root, science)
    chosen = devices.chosen(trainer, device)
    return Shared(group, device, chosen, classifier, explainer, notes={})


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
    files = shared.group.files
    cells = _cells(curves)
    folders = {place: store.cell(cell.folder) for place, (_, cell) in cells.items()}
    entries, given = _metrics(shared.group.cfg), _columns(shared.group.cfg)
    names = {column.name for column in flat(given)}
    done = {place: folder.begin(entries, names, force=force) for place, folder in folders.items()}
    writers = _writers(shared.group.cfg, sweep, cells, folders, done)
    start = time.perf_counter()
    ranks = min(len(shared.devices), len(_todo(files, writers)))
    if ranks > 1:
        in_ranks(
            *(ranks, _fill_a_part, ranks, shared.group, sweep, store, curves, done),
            heed=_counted(writers),
        )
    else:
        _fill(shared, curves, writers)
    seconds = time.perf_counter() - start
    for writer in writers.values():  # before one of them may turn out not to be complete
        writer.flush()
    for place, (asked, cell) in cells.items():
        writer = writers[place]
        with suppress(LeaseLostError):  # another job has taken over, and completes it
            counts = writer.close(expected=len(files))
            of_cell = manifest(
                writer.constants,
                curve=cell.curve.name,
                asked=asked_of(cell.science),
                identity=cell.science,
                config=asked.configs[cell.folder],
                metrics=entries,
                columns=given,
                unit=asked.transform.unit,
                counts=counts,
                seconds=seconds,
                device=torch.cuda.get_device_name() if shared.device == "cuda" else "cpu",
                findings=shared.notes,
            )
            writer.folder.finish(of_cell, writer.keep_worst)


def _cells(curves: Sequence[Asked]) -> dict[Place, tuple[Asked, Cell]]:
    return {
        (index, cell.magnitude): (asked, cell)
        for index, asked in enumerate(curves)
        for cell in asked.cells
    }


def _writers(
    cfg: DictConfig,
    sweep: str,
    cells: Mapping[Place, tuple[Asked, Cell]],
    folders: Mapping[Place, CellFolder],
    done: Mapping[Place, frozenset[str]],
) -> dict[Place, CellWriter]:
    shard_images = cfg.shard_images
    if cfg.keep_heatmaps == "all":
        shard_images = min(shard_images, _SHARD_WITH_HEATMAPS)
    return {
        place: CellWriter(
            folders[place],
            done[place],
            _constants(cell, sweep),
            flat(_columns(cfg)),
            shard_images=shard_images,
            keep_worst=cfg.keep_worst if cfg.keep_heatmaps == "worst" else None,
            metrics=_metrics(cfg),
        )
        for place, (_, cell) in cells.items()
    }


def _metrics(cfg: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(cfg.metric, resolve=True)  # type: ignore[return-value]


_FLOORS = ("rmse_there_and_back", "rmse_second_draw")
_FACTS = (
    *(Column(name, f"The {name}.") for name in ("relevance_ratio", "bias_share")),
    *(Column(name, f"The {name}.") for name in ("stabilizer_share", "surrogate_r2")),
    Column("num_samples", "The num_samples.", "int32"),
    Column("coefficient_stderr", "The coefficient_stderr."),
)


def _columns(cfg: DictConfig) -> dict[str | None, tuple[Column, ...]]:
    own: dict[str | None, tuple[Column, ...]] = {
        str(name): (Column(str(name), f"Metric `{name}`."),) for name in cfg.metric
    }
    floors = tuple(Column(name, f"The {name}.") for name in _FLOORS)
    return own | {None: (*floors, *_FACTS)}


def _constants(cell: Cell, sweep: str) -> dict[str, Any]:
    curve, science = cell.curve, cell.science
    region_of = science["region_of"]
    return {
        **dict.fromkeys(column.name for column in _FACTS),
        "cell": cell.key,
        "question": digest(curve.science)[:16],
        "sweep": sweep,
        "data": curve.data,
        "model": curve.model,
        "explainer": curve.explainer,
        "is_control": is_control(curve.explainer),
        "transform": curve.transform,
        "parameter": curve.parameter,
        "magnitude": cell.magnitude,
        "seed": science["seed"],
        "target": science["target"],
        "region": science["region"],
        "region_of": ",".join(f"{each:g}" for each in region_of) or "own",
        "draws": 1,
    }


def _todo(files: Sequence[ImageFile], writers: Mapping[Place, CellWriter]) -> list[ImageFile]:
    """The images that have no rows yet in one cell at least."""
    finished = frozenset.intersection(*(writer.done for writer in writers.values()))
    return [file for file in files if file.image_id not in finished]


def _fill(
    shared: Shared,
    curves: Sequence[Asked],
    writers: Mapping[Place, CellWriter],
    ranks: int = 1,
    rank: int = 0,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Compute the images that are left; of several processes each its share."""
    cfg, files = shared.group.cfg, shared.group.files
    todo = _todo(files, writers)
    if not todo:
        return
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
        batch_size=devices.loaded(shared.device, len(writers), probe.draws)
        if cfg.batch_size == "auto"
        else cfg.batch_size,
        workers=devices.workers(len(todo), shared.device) if cfg.workers == "auto" else cfg.workers,
    )
    callbacks: list[pl.Callback] = [HandIn(writers, after)]
    if rank == 0:
        before = len(files) - len(todo)
        callbacks.append(Progress(_title(curves), len(files), before, ranks))
    predict(cfg, probe, images, callbacks, shared.devices[:ranks])


def _fill_a_part(
    rank: int,
    tell: Callable[[object], None],
    ranks: int,
    group: Group,
    sweep: str,
    store: Store,
    curves: Sequence[Asked],
    done: Mapping[Place, frozenset[str]],
) -> None:
    """What one of several processes does: its share of the images, into shards of its own."""
    cells = _cells(curves)
    folders = {
        place: store.cell(cell.folder).every(ranks, rank) for place, (_, cell) in cells.items()
    }
    writers = _writers(group.cfg, sweep, cells, folders, done)

    def after() -> None:
        tell({place: lease.images for place, lease in _leases(writers).items()})

    _fill(_load(group, store), curves, writers, ranks, rank, after)
    for writer in writers.values():
        writer.flush()


def _counted(writers: Mapping[Place, CellWriter]) -> Callable[[int, Any], None]:
    """Adds up in this process' leases how many images the ranks have computed."""
    news: dict[int, dict[Place, int]] = {}

    def heed(rank: int, counts: dict[Place, int]) -> None:
        news[rank] = counts
        for place, lease in _leases(writers).items():
            lease.images = sum(each[place] for each in news.values())

    return heed


def _leases(writers: Mapping[Place, CellWriter]) -> dict[Place, Lease]:
    leases = {place: writer.folder.lease for place, writer in writers.items()}
    return {place: lease for place, lease in leases.items() if lease is not None}


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


def _keep_freed_memory() -> None:
    """Ask glibc to keep freed blocks of a few megabytes, which is what heatmaps are made of.

    Otherwise they go back to the kernel and come again page by page, which is a large part of a
    job's system time. Memory does not grow by it beyond its peak.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)

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

from xai_sweep.config.building import build
from xai_sweep.data import ImageFile
from xai_sweep.data.loader import ImageModule
from xai_sweep.explainers import Explainer, Fittable
from xai_sweep.explainers.base import check_needs
from xai_sweep.models import Classifier, grey_images, load
from xai_sweep.store.manifest import manifest
from xai_sweep.store.sharing.lease import Lease, LeaseLostError
from xai_sweep.store.store import Store
from xai_sweep.store.writer import CellWriter
from xai_sweep.study import devices
from xai_sweep.study.fitting import fitted
from xai_sweep.study.predicting import CellIndex, RowWriter, predict
from xai_sweep.study.probe import Probe
from xai_sweep.sweep.observing import ObservedSubject
from xai_sweep.sweep.passes import Pass
from xai_sweep.sweep.processes import ALONE, Process, in_processes
from xai_sweep.sweep.progress import Progress
from xai_sweep.sweep.requests import Group, RequestedCurve

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
        findings: what it found in this network.
    """

    group: Group
    device: str
    devices: list[int]
    classifier: Classifier
    explainer: Explainer
    findings: Mapping[str, Any]


def prepare(group: Group, store: Store) -> Shared:
    """Load the network and make the method ready for it, once for all curves of a group.

    Raises:
        InputError: the network cannot be had or explained, or the device is not there.
    """
    shared = _load(group, store)
    return replace(shared, findings=_checked(shared.explainer, shared.classifier))


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
        identity = next(iter(group.curves.values())).curve.identity
        explainer = fitted(explainer, classifier, group.files, store.root, identity)
    chosen = devices.chosen(trainer, device)
    return Shared(group, device, chosen, classifier, explainer, findings={})


def compute(
    shared: Shared,
    sweep: str,
    store: Store,
    curves: Sequence[RequestedCurve],
    *,
    force: bool = False,
) -> None:
    """Fill unfinished cells of some curves; images whose rows are there already are left out.

    Args:
        shared: what the curves have in common.
        sweep: the name of the multirun, or of the single run.
        store: the results folder.
        curves: all of their cells are computed; they have the same metrics.
        force: leave no image out.
    """
    files = shared.group.files
    pass_ = Pass(shared, sweep, curves)
    folders = {index: store.cell(cell.folder) for index, (_, cell) in pass_.cells.items()}
    done = {
        index: folder.begin(pass_.entries, pass_.names, force=force)
        for index, folder in folders.items()
    }
    writers = pass_.writers(folders, done)
    start = time.perf_counter()
    world = min(len(shared.devices), len(_todo(files, writers)))
    if world > 1:
        in_processes(
            *(world, _fill_a_part, shared.group, sweep, store, curves, done),
            received=_counted(writers),
        )
    else:
        _fill(pass_, writers)
    seconds = time.perf_counter() - start
    for writer in writers.values():  # before one of them may turn out not to be complete
        writer.flush()
    for index, (curve, cell) in pass_.cells.items():
        writer = writers[index]
        with suppress(LeaseLostError):  # another job has taken over, and completes it
            counts = writer.close(expected=len(files))
            content = manifest(
                writer.constants,
                curve=cell.curve.name,
                request=cell.request,
                identity=cell.identity,
                config=curve.configs[cell.folder],
                metrics=pass_.entries,
                columns=pass_.columns,
                unit=curve.transform.parameter.unit,
                counts=counts,
                seconds=seconds,
                device=torch.cuda.get_device_name() if shared.device == "cuda" else "cpu",
                findings=shared.findings,
            )
            writer.folder.finish(content, writer.keep_worst)


def _todo(files: Sequence[ImageFile], writers: Mapping[CellIndex, CellWriter]) -> list[ImageFile]:
    """The images that have no rows yet in one cell at least."""
    finished = frozenset.intersection(*(writer.done for writer in writers.values()))
    return [file for file in files if file.image_id not in finished]


def _fill(
    pass_: Pass,
    writers: Mapping[CellIndex, CellWriter],
    process: Process = ALONE,
    after_batch: Callable[[], None] = lambda: None,
) -> None:
    """Compute the images that are left; of several processes each its share."""
    shared = pass_.shared
    cfg, files = shared.group.cfg, shared.group.files
    left = _todo(files, writers)
    if not left:
        return
    before = len(files) - len(left)
    todo = process.share(left)
    probe = Probe(
        ObservedSubject(shared.classifier, shared.explainer),
        [curve.change for curve in pass_.curves],
        pass_.metrics,
        batch_size=None if cfg.batch_size == "auto" else cfg.batch_size,
        keep_heatmaps=cfg.keep_heatmaps != "none",
    )
    images = ImageModule(
        todo,
        shared.classifier.preprocess,
        batch_size=devices.loaded(shared.device, len(writers), probe.keep_heatmaps)
        if cfg.batch_size == "auto"
        else cfg.batch_size,
        whole=files,
        channels=shared.classifier.channels,
        workers=devices.workers(len(todo), shared.device) if cfg.workers == "auto" else cfg.workers,
    )
    callbacks: list[pl.Callback] = [RowWriter(writers, after_batch)]
    if process.index == 0:
        callbacks.append(Progress(_title(pass_.curves), len(files), before, process.world))
    predict(cfg, probe, images, callbacks, shared.devices[process.index])


def _fill_a_part(
    process: Process,
    send: Callable[[object], None],
    group: Group,
    sweep: str,
    store: Store,
    curves: Sequence[RequestedCurve],
    done: Mapping[CellIndex, frozenset[str]],
) -> None:
    """What one of several processes does: its share of the images, into shards of its own."""
    pass_ = Pass(_load(group, store), sweep, curves)
    folders = {
        index: store.cell(cell.folder).every(process.world, process.index)
        for index, (_, cell) in pass_.cells.items()
    }
    writers = pass_.writers(folders, done)

    def after_batch() -> None:
        send({index: lease.images for index, lease in _leases(writers).items()})

    _fill(pass_, writers, process, after_batch)
    for writer in writers.values():
        writer.flush()


def _counted(writers: Mapping[CellIndex, CellWriter]) -> Callable[[Process, Any], None]:
    """Adds up in the leases of this process how many images the processes have computed."""
    latest: dict[Process, dict[CellIndex, int]] = {}

    def received(process: Process, counts: dict[CellIndex, int]) -> None:
        latest[process] = counts
        for index, lease in _leases(writers).items():
            lease.images = sum(each[index] for each in latest.values())

    return received


def _leases(writers: Mapping[CellIndex, CellWriter]) -> dict[CellIndex, Lease]:
    leases = {index: writer.folder.lease for index, writer in writers.items()}
    return {index: lease for index, lease in leases.items() if lease is not None}


def _title(curves: Sequence[RequestedCurve]) -> str:
    """What is computed, for the progress bar: what the curves share stands there once."""
    first = curves[0].curve
    transforms = ", ".join(dict.fromkeys(curve.curve.transform for curve in curves))
    return f"{first.model} · {first.explainer} · {textwrap.shorten(transforms, 80)}"


def _checked(explainer: Explainer, classifier: Classifier) -> dict[str, Any]:
    """What there is to say of this explainer and this network, before any image is explained.

    Raises:
        InputError: the network cannot be explained; names the layer.
    """
    check_needs(explainer, classifier)
    findings = dict(explainer.prepare(classifier, grey_images(classifier)))
    if classifier.examined is not None:
        findings["output"] = classifier.examined.output
        if classifier.examined.output != "logits":
            print(f"note: the network gives {classifier.examined.output}", file=sys.stderr)
    for operation in findings.get("unsupported", []):
        print(f"warning: {operation}: passed as input times gradient", file=sys.stderr)
    for warning in findings.get("warnings", []):
        print(f"warning: {warning}", file=sys.stderr)
    return findings


def _keep_freed_memory() -> None:
    """Ask glibc to keep freed blocks of a few megabytes, which is what heatmaps are made of.

    Otherwise they go back to the kernel and come again page by page, which is a large part of a
    job's system time. Memory does not grow by it beyond its peak.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)

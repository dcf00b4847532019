"""`xai-sweep preflight`: what an explainer will do with a network, before any hour is spent."""

import time
from dataclasses import is_dataclass, replace
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from xai_sweep.config.building import build
from xai_sweep.config.points import composed
from xai_sweep.explainers import LRP
from xai_sweep.explainers.base import Accounted, Explain
from xai_sweep.explainers.relevance.engine import Propagation
from xai_sweep.models import Classifier, load, sample


def preflight(overrides: list[str]) -> None:
    """Print the table of operations and what an image will cost.

    Args:
        overrides: as on the command line of a run, ``model=densenet121 explainer=lrp``.

    Raises:
        InputError: what a run with these overrides would raise too.
    """
    cfg = composed(overrides)
    explainer = build(cfg.explainer)
    classifier = load(build(cfg.model))
    images = sample(classifier)
    if isinstance(explainer, LRP):
        # All that has no rule is in the table; a run would stop at the first.
        forgiving = replace(explainer, unsupported="gradient")
        _show(forgiving.bind(classifier).propagation(images))
    explain = explainer.bind(classifier)
    notes = dict(explain.notes(images)) if isinstance(explain, Accounted) else {}
    if isinstance(explainer, LRP):
        propagation = explain.propagation(images)
        print(f"memory     {_kept(propagation, images) / 2**20:.0f} MiB kept per image")
        print(f"logits     differ by {notes['logit_difference']:.1e} of the largest after fusing")
    ranks = min(cfg.ranks, classifier.module(images).shape[1])
    print(
        f"cost       {_forwards(explain, classifier, images, ranks):.1f} forward passes per image"
    )
    for operation in notes.get("unsupported", []):
        print(f"warning: {operation}: passed as input times gradient")


def _show(propagation: Propagation) -> None:
    table = Table(title="what is done with each operation that relevance passes")
    for column in ("path", "operation", "rule", "batchnorm", "note"):
        table.add_column(column, no_wrap=True)
    for step in propagation.plan.steps:
        if step.inputs and step.op != "view":
            table.add_row(step.path, step.op, step.rule, step.batchnorm, step.note)
    # A table that is cut off in a file would hide what it is for.
    console = Console()
    Console(width=None if console.is_terminal else 160).print(table)


def _kept(propagation: Propagation, images: torch.Tensor) -> int:
    """Bytes that the forward pass keeps for the way back, per image."""
    with torch.no_grad():
        _, kept = propagation.forward(images)
    sizes: dict[int, int] = {}

    def count(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            sizes[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, tuple | list):
            for part in value:
                count(part)
        elif is_dataclass(value):
            count(tuple(vars(value).values()))

    count(kept)
    return sum(sizes.values()) // len(images)


def _forwards(explain: Explain, classifier: Classifier, images: torch.Tensor, ranks: int) -> float:
    """Time of an explanation in units of the network's own forward pass."""

    def seconds(work: Any) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    targets = torch.arange(ranks, device=images.device).expand(len(images), ranks)
    seeds = torch.arange(len(images))
    # A ramp and not plain grey, in which there is nothing to explain for methods of superpixels.
    images = images + torch.linspace(-1, 1, images.shape[-1]).to(images)
    with torch.no_grad():
        forward = min(seconds(lambda: classifier.module(images)) for _ in range(3))
    explain(images, targets, seeds)
    return min(seconds(lambda: explain(images, targets, seeds)) for _ in range(2)) / forward

"""What an explainer will do with a network, and what it costs, before any hour is spent."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from xai_sweep.config.building import build
from xai_sweep.core.errors import InputError
from xai_sweep.explainers import LRP, Fittable
from xai_sweep.explainers.base import Explainer, check_needs
from xai_sweep.explainers.relevance.engine import Propagation
from xai_sweep.models import grey_images, load
from xai_sweep.study.fitting import from_file
from xai_sweep.study.subject import Subject


@dataclass(frozen=True)
class Operation:
    """One operation of the network that relevance passes.

    Attributes:
        path: of its module.
        operation: its kind.
        rule: how relevance passes it.
        batchnorm: what was done with a batchnorm beside it.
        note: what else is worth knowing.
    """

    path: str
    operation: str
    rule: str
    batchnorm: str
    note: str


@dataclass(frozen=True, eq=False)
class Preflight:
    """What will happen.

    Attributes:
        operations: what is done with each operation; none for methods other than LRP.
        findings: what the explainer found out about the network.
        memory: bytes that the forward pass keeps for the way back, per image; None if not known.
        cost: time of an explanation in forward passes, per image; None if it would be refused.
        error: why a run would be refused; None if it would not.
    """

    operations: tuple[Operation, ...] = ()
    findings: Mapping[str, Any] | None = None
    memory: int | None = None
    cost: float | None = None
    error: InputError | None = None


def preflight(cfg: DictConfig) -> Preflight:
    """Look at the network with two grey images.

    Args:
        cfg: the configuration of a run.

    Raises:
        InputError: the model or the explainer cannot be had.
    """
    explainer: Explainer = build(cfg.explainer)
    if isinstance(explainer, Fittable):
        explainer = from_file(explainer)
    classifier = load(build(cfg.model))
    images = grey_images(classifier)
    operations: tuple[Operation, ...] = ()
    memory = None
    try:
        check_needs(explainer, classifier)
        if isinstance(explainer, LRP):
            # All operations without a rule are listed; a run would stop at the first.
            forgiving = replace(explainer, unsupported="gradient")
            operations = _operations(forgiving.propagation(classifier, images))
        findings = dict(explainer.prepare(classifier, images))
        if isinstance(explainer, LRP):
            memory = _kept(explainer.propagation(classifier, images), images)
        assert classifier.examined is not None  # by `load`
        findings["output"] = classifier.examined.output
        targets = min(cfg.ranks, classifier.module(images).shape[1])
        cost = _forwards(Subject(classifier, explainer), images, targets)
    except InputError as error:
        return Preflight(operations, error=error)
    return Preflight(operations, findings, memory, cost)


def _operations(propagation: Propagation) -> tuple[Operation, ...]:
    return tuple(
        Operation(step.path, step.op, step.rule, step.batchnorm, step.note)
        for step in propagation.plan.steps
        if step.inputs and step.op != "view"
    )


def _kept(propagation: Propagation, images: Tensor) -> int:
    """Bytes that the forward pass keeps for the way back, per image."""
    with torch.no_grad():
        _, kept = propagation.forward(images)
    sizes: dict[int, int] = {}

    def count(value: Any) -> None:
        if isinstance(value, Tensor):
            sizes[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, tuple | list):
            for part in value:
                count(part)
        elif is_dataclass(value):
            count(tuple(vars(value).values()))

    count(kept)
    return sum(sizes.values()) // len(images)


def _forwards(subject: Subject, images: Tensor, targets: int) -> float:
    """Time of an explanation in units of the network's own forward pass."""

    def seconds(work: Callable[[], object]) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    classes = torch.arange(targets, device=images.device).expand(len(images), targets)
    seeds = torch.arange(len(images))
    # A ramp and not plain grey, in which methods of superpixels find nothing to explain.
    images = images + torch.linspace(-1, 1, images.shape[-1]).to(images)
    forward = min(seconds(lambda: subject.logits(images)) for _ in range(3))
    subject.explain(images, classes, seeds)
    return min(seconds(lambda: subject.explain(images, classes, seeds)) for _ in range(2)) / forward

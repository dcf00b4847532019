"""Relevance of small networks, by the engine's public functions."""

from typing import Any

import torch
from torch import Tensor, fx

from xai_sweep.explainers import LRP
from xai_sweep.explainers.relevance.engine import Propagation, Relevance, make_plan
from xai_sweep.explainers.relevance.engine.flow import Flow
from xai_sweep.graphs.capture import capture
from xai_sweep.graphs.maps import find_map
from xai_sweep.models import Classifier


def propagation(
    classifier: Classifier, images: Tensor, fast: bool = True, **parameters: Any
) -> Propagation:
    """LRP with these parameters, for images of this shape.

    Args:
        fast: whether rules are computed by their fast forms, or by their equations.
    """
    lrp, captured = LRP(**parameters), capture(classifier, images)
    stop = None if lrp.layer is None else find_map(captured, lrp.layer).node
    black = torch.zeros(len(classifier.mean), 1, 1, dtype=images.dtype)
    space = classifier.normalisation
    bounds = space.to_normalised(black).flatten(), space.to_normalised(black + 1).flatten()
    return Propagation(make_plan(captured, lrp.composite(), bounds, stop, fast))


def relevance(
    classifier: Classifier, images: Tensor, targets: Tensor, fast: bool = True, **parameters: Any
) -> Relevance:
    """With accounts."""
    run = propagation(classifier, images, fast, **parameters)
    return run(images, targets, accounts=True)


def heatmaps(
    classifier: Classifier, images: Tensor, targets: Tensor, fast: bool = True, **parameters: Any
) -> Tensor:
    """Without accounts, channels summed."""
    return propagation(classifier, images, fast, **parameters)(images, targets).maps.sum(dim=2)


def shares(found: Relevance) -> dict[str, Tensor]:
    """Where the logit went, as parts of it."""
    logits = found.logits.double()
    assert found.absorbed is not None
    assert found.lost is not None
    return {
        "arrived": found.maps.double().flatten(2).sum(dim=2) / logits,
        "absorbed": found.absorbed / logits,
        "lost": found.lost / logits,
    }


def wrong_signs(classifier: Classifier, images: Tensor) -> tuple[int, dict[str, float]]:
    """How many values are proved to be at least zero, and the least of those that are below it."""
    captured = capture(classifier, images)
    proved = Flow(captured, None, allows_gradient=True).nonnegative
    wrong: dict[str, float] = {}

    class Watched(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n in proved and isinstance(value, Tensor) and bool((value < 0).any()):
                wrong[f"{n} = {n.target}{n.args}"] = float(value.min())
            return value

    with torch.no_grad():
        Watched(captured.graph).run(images)
    return len(proved), wrong

"""Shorthand for tests that look at nothing but heatmaps."""

from collections.abc import Callable

from torch import Tensor

from xai_sweep.explainers import Explainer
from xai_sweep.models import Classifier


def heatmaps_of(explainer: Explainer, classifier: Classifier) -> Callable[..., Tensor]:
    """A function of images, targets and seeds."""

    def heatmaps(images: Tensor, targets: Tensor, seeds: Tensor | None = None) -> Tensor:
        return explainer.explain(classifier, images, targets, seeds).heatmaps

    return heatmaps

"""Lets a method that needs a fit be used like any other."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from xai_sweep.explainers import Explained, Explainer, Fittable
from xai_sweep.models import Classifier


class FitsFirst(Explainer):
    """Fits a method on a few images of its own, always the same, when it is first used."""

    def __init__(self, explainer: Fittable) -> None:
        self.explainer = explainer
        self.fitted: Fittable | None = None
        self.is_deterministic = explainer.is_deterministic
        self.is_signed = explainer.is_signed
        self.is_class_sensitive = explainer.is_class_sensitive
        self.facts = explainer.facts

    def explain(
        self,
        classifier: Classifier,
        images: Tensor,
        targets: Tensor,
        seeds: Tensor | None = None,
        carried: Tensor | None = None,
    ) -> Explained:
        return self._fitted(classifier, images).explain(classifier, images, targets, seeds, carried)

    def prepare(self, classifier: Classifier, images: Tensor) -> Mapping[str, Any]:
        return self._fitted(classifier, images).prepare(classifier, images)

    def _fitted(self, classifier: Classifier, images: Tensor) -> Fittable:
        if self.fitted is None:
            generator = torch.Generator().manual_seed(8)
            seen = torch.randn(12, *images.shape[1:], generator=generator).to(images)
            self.fitted = self.explainer.fit(classifier, [seen])
        return self.fitted


def ready(explainer: Explainer) -> Explainer:
    """The method itself, or one that fits first."""
    return FitsFirst(explainer) if isinstance(explainer, Fittable) else explainer

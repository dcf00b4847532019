"""Lets a method that needs a fit be used like any other."""

import torch
from torch import Tensor

from xai_sweep.explainers import Explain, Explainer, Fittable
from xai_sweep.models import Classifier


class FitsFirst(Explainer):
    """Fits a method on a few images of its own, always the same, when it is first used."""

    def __init__(self, explainer: Fittable) -> None:
        self.explainer = explainer
        self.is_deterministic = explainer.is_deterministic
        self.is_signed = explainer.is_signed
        self.is_class_sensitive = explainer.is_class_sensitive

    def bind(self, classifier: Classifier) -> Explain:
        bound: list[Explain] = []

        def explain(images: Tensor, targets: Tensor, seeds: Tensor | None = None) -> Tensor:
            if not bound:
                generator = torch.Generator().manual_seed(8)
                seen = torch.randn(12, *images.shape[1:], generator=generator).to(images)
                bound.append(self.explainer.fit(classifier, [seen]).bind(classifier))
            return bound[0](images, targets, seeds)

        return explain


def ready(explainer: Explainer) -> Explainer:
    """The method itself, or one that fits first."""
    return FitsFirst(explainer) if isinstance(explainer, Fittable) else explainer

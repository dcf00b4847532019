"""What PatternNet and PatternAttribution share: fitting, and the way back through the network."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.core.hashing import file_sha256
from xai_sweep.explainers.fittable import Fittable
from xai_sweep.explainers.relevance.engine import Plan, Propagation
from xai_sweep.explainers.relevance.lrp import LRP
from xai_sweep.explainers.relevance.pattern_passes import estimate, layers, measured, through
from xai_sweep.explainers.relevance.patterns import ESTIMATORS, Patterns, weights_hash
from xai_sweep.graphs.capture import Captured, capture
from xai_sweep.models.classifier import Classifier, check_targets
from xai_sweep.models.weights import existing

# Rounding depends on how images are grouped, so the groups are always the same.
BATCH = 8


@dataclass(frozen=True)
class PatternMethod(Fittable):
    """The gradient of the logit, times the logit, with other weights on the way back.

    The network is the graph that LRP sees: batchnorm is fused where that is exact, and sums, pools
    and gates hand on what the gradient does. Activations other than ReLU hand on their output
    divided by their input, which for a ReLU is its gradient.

    Attributes:
        patterns: what was fitted, a `Patterns`, or the path of a file of it; None before the fit.
        estimator: ``two_component``, or ``linear``, which takes no notice of the ReLU.
        fit_limit: fit on the first so many images of a set; None for all.
    """

    patterns: Any = None
    estimator: str = "two_component"
    fit_limit: int | None = None

    source: ClassVar[str] = "Kindermans et al. 2018, arXiv:1705.05598"

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            allowed = f"must be one of {', '.join(ESTIMATORS)}"
            raise InputError("explainer.estimator", self.estimator, allowed)
        if self.fit_limit is not None and self.fit_limit < 1:
            allowed = "must be a whole number from 1, or null for all"
            raise InputError("explainer.fit_limit", self.fit_limit, allowed)
        if not isinstance(self.patterns, Patterns | str | Path | None):
            allowed = "must be the path of a file that a fit wrote, or null to fit"
            raise InputError("explainer.patterns", self.patterns, allowed)

    @abstractmethod
    def weight_back(self, weight: Tensor, pattern: Tensor, growth: float) -> Tensor:
        """What takes the place of a layer's weight on the way back; see `Patterns`."""

    @property
    def is_fitted(self) -> bool:
        """See `Fittable.is_fitted`."""
        return self.patterns is not None

    @property
    def limit(self) -> int | None:
        """See `Fittable.limit`."""
        return self.fit_limit

    def identity(self) -> dict[str, str]:
        """See `Explainer.identity`."""
        if not isinstance(self.patterns, str | Path):
            return {}
        file = existing(str(self.patterns), "explainer.patterns")
        return {"explainer.patterns": f"sha256:{file_sha256(file)}"}

    def fit(
        self, classifier: Classifier, batches: Iterable[Float[Tensor, "_ c h w"]]
    ) -> "PatternMethod":
        """See `Fittable.fit`."""
        with torch.inference_mode(False):
            groups = _grouped(batches, self.fit_limit)
            first = next(groups, None)
            if first is None:
                name = type(self).__name__
                raise InputError("explainer", name, "needs at least one image to fit")
            plan = _plan(classifier, first)
            tensors, images = estimate(plan, chain([first], groups), self.estimator)
            growth = measured(plan, tensors, first)
        weights = weights_hash(classifier.module)
        return replace(self, patterns=Patterns(tensors, weights, self.estimator, images, growth))

    def save(self, path: Path) -> None:
        """See `Fittable.save`."""
        self._fitted().save(path)

    def restored(self, path: Path) -> "PatternMethod":
        """See `Fittable.restored`."""
        return replace(self, patterns=Patterns.load(path))

    def bind(self, classifier: Classifier) -> "BoundPatternMethod":
        """See `Explainer.bind`.

        Raises:
            InputError: the method is not fitted, or was to another network.
        """
        patterns = self._fitted()
        if patterns.weights != weights_hash(classifier.module):
            allowed = "were fitted to a network with other weights"
            raise InputError("explainer.patterns", f"{len(patterns.tensors)} layers", allowed)
        if patterns.estimator != self.estimator:
            allowed = f"must be {patterns.estimator}, as for the patterns that were fitted"
            raise InputError("explainer.estimator", self.estimator, allowed)
        return BoundPatternMethod(self, patterns, classifier)

    def _fitted(self) -> Patterns:
        if isinstance(self.patterns, Patterns):
            return self.patterns
        if self.patterns is not None:
            return Patterns.load(existing(str(self.patterns), "explainer.patterns"))
        name = type(self).__name__
        raise InputError(
            "explainer.patterns",
            None,
            f"{name} must be fitted first: a run does it by itself, in Python "
            f"{name}().fit(classifier, batches); or the path of a file that a fit wrote",
        )


class BoundPatternMethod:
    """A fitted method for one classifier."""

    def __init__(
        self, explainer: PatternMethod, patterns: Patterns, classifier: Classifier
    ) -> None:
        self.explainer = explainer
        self.patterns = patterns
        self.classifier = classifier
        self._made: WeakKeyDictionary[Captured, Propagation] = WeakKeyDictionary()

    def signal(
        self, images: Float[Tensor, "b c h w"], targets: Int64[Tensor, "b k"]
    ) -> Float[Tensor, "b k c h w"]:
        """The map with its channels."""
        propagation = self._propagation(images)
        check_targets(targets, propagation.plan.classes)
        # In this format a convolution's last digit depends on no other image of the batch.
        layout = torch.contiguous_format
        if images.dtype != torch.float64:
            layout = torch.channels_last
        pixels = images.detach().contiguous(memory_format=layout)
        found = propagation(pixels, targets, times_input=False)
        return found.maps * found.logits[:, :, None, None, None]

    def __call__(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b k h w"]:
        """See `Explain`."""
        return self.signal(images, targets).sum(dim=2)

    def _propagation(self, images: Tensor) -> Propagation:
        captured = capture(self.classifier, images)
        if captured not in self._made:
            plan = _plan(self.classifier, images)
            own = layers(plan)
            weights = {
                name: self.explainer.weight_back(
                    own[name].site.layer.weight,
                    tensor.to(own[name].site.layer.weight),
                    self.patterns.growth[name],
                )
                for name, tensor in self.patterns.tensors.items()
                if name in own
            }
            self._made[captured] = through(plan, weights)
        return self._made[captured]


def _plan(classifier: Classifier, images: Tensor) -> Plan:
    """The network as LRP-0 sees it, whose relevance in the form ``c`` is the gradient."""
    gradient = LRP(rules=[{"rule": "zero"}], unsupported="gradient")
    return gradient.bind(classifier).propagation(images).plan


def _grouped(batches: Iterable[Tensor], limit: int | None) -> Iterator[Tensor]:
    """Images in batches of `BATCH`, at most ``limit`` of them."""
    waiting: list[Tensor] = []
    for image in islice((image for batch in batches for image in batch), limit):
        waiting.append(image)
        if len(waiting) == BATCH:
            yield torch.stack(waiting)
            waiting = []
    if waiting:
        yield torch.stack(waiting)

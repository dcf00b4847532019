"""What PatternNet and PatternAttribution share: fitting, and propagating back."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import Explained, Needs
from xai_sweep.explainers.fittable import Fittable
from xai_sweep.explainers.memory import Memory
from xai_sweep.explainers.relevance.engine import Plan, Propagation
from xai_sweep.explainers.relevance.engine.operations import ACTIVATIONS
from xai_sweep.explainers.relevance.engine.steps import Gradient, Normalise, Step
from xai_sweep.explainers.relevance.lrp import LRP
from xai_sweep.explainers.relevance.pattern_passes import estimate, layers, measured, through
from xai_sweep.explainers.relevance.patterns import Estimator, Patterns, weights_hash
from xai_sweep.graphs.capture import capture
from xai_sweep.models.classifier import Classifier, check_targets

# Rounding depends on how images are grouped, so the groups are always the same.
BATCH = 8
_KEY = "explainer.patterns"
aten = torch.ops.aten
_RECTIFIERS: frozenset[Any] = frozenset(
    {
        aten.relu.default,
        aten.relu6.default,
        aten.hardtanh.default,
        aten.leaky_relu.default,
        aten.prelu.default,
    }
)


@dataclass(frozen=True)
class PatternMethod(Fittable):
    """The gradient of the logit, times the logit, propagated back with other weights.

    The network is the graph that LRP sees: batchnorm is fused where that is exact, and sums, pools
    and gates pass on what the gradient does. Rectifiers pass on their output divided by their
    input, which for a ReLU is its gradient. For smooth activations, normalisations and attention
    patterns are not defined, and networks that have them are refused.

    Attributes:
        patterns: what was fitted, a `Patterns`; or the path of a file with it, which has to be read
            before anything can be explained (see `Fittable.file`); None before the fit.
        estimator: ``two_component``, or ``linear``, which ignores the ReLU.
        fit_limit: fit on only so many images, the first of a set; None for all.
    """

    patterns: Patterns | str | None = None
    estimator: Estimator = "two_component"
    fit_limit: Annotated[int, Ge(1)] | None = None
    _memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)

    needs: ClassVar[Needs] = "graph"
    source: ClassVar[str] = "Kindermans et al. 2018, arXiv:1705.05598"

    def __post_init__(self) -> None:
        super().__post_init__()
        given: object = self.patterns
        if not isinstance(given, Patterns | str | None):
            allowed = "must be the path of a file that a fit wrote, or null to fit"
            raise InputError(_KEY, given, allowed)

    @abstractmethod
    def weight_back(self, weight: Tensor, pattern: Tensor, growth: float) -> Tensor:
        """What replaces a layer's weight on the way back; see `Patterns`."""

    @property
    @override
    def is_fitted(self) -> bool:
        return isinstance(self.patterns, Patterns)

    @property
    @override
    def file(self) -> tuple[str, str] | None:
        return (_KEY, self.patterns) if isinstance(self.patterns, str) else None

    @property
    @override
    def limit(self) -> int | None:
        return self.fit_limit

    @override
    def fit(
        self, classifier: Classifier, batches: Iterable[Float[Tensor, "_ c h w"]]
    ) -> "PatternMethod":
        with torch.inference_mode(False):
            groups = _grouped(batches, self.fit_limit)
            first = next(groups, None)
            if first is None:
                name = type(self).__name__
                raise InputError("explainer", name, "needs at least one image to fit")
            plan = self._plan(classifier, first)
            tensors, images = estimate(plan, chain([first], groups), self.estimator)
            growth = measured(plan, tensors, first)
        weights = weights_hash(classifier.module)
        return replace(self, patterns=Patterns(tensors, weights, self.estimator, images, growth))

    @override
    def to_bytes(self) -> bytes:
        return self._fitted().to_bytes()

    @override
    def restored(self, content: bytes, name: str) -> "PatternMethod":
        return replace(self, patterns=Patterns.from_bytes(content, name))

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        return Explained(self.signal(classifier, images, targets).sum(dim=2))

    @override
    def prepare(
        self, classifier: Classifier, images: Float[Tensor, "b c h w"]
    ) -> Mapping[str, Any]:
        """Make the plan for these images.

        Raises:
            InputError: the method is not fitted, or was to another network.
        """
        self._propagation(classifier, images)
        return {}

    def signal(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
    ) -> Float[Tensor, "b k c h w"]:
        """The map with its channels; see `explain` for the arguments."""
        propagation = self._propagation(classifier, images)
        check_targets(targets, propagation.plan.classes)
        # In this format a convolution's last digit does not depend on the rest of the batch.
        layout = torch.contiguous_format
        if images.dtype != torch.float64:
            layout = torch.channels_last
        pixels = images.detach().contiguous(memory_format=layout)
        found = propagation(pixels, targets, times_input=False)
        return found.maps * found.logits[:, :, None, None, None]

    def _propagation(self, classifier: Classifier, images: Tensor) -> Propagation:
        def make() -> Propagation:
            patterns = self._checked(classifier)
            plan = self._plan(classifier, images)
            own = layers(plan)
            weights = {
                name: self.weight_back(
                    own[name].site.layer.weight,
                    tensor.to(own[name].site.layer.weight),
                    patterns.growth[name],
                )
                for name, tensor in patterns.tensors.items()
                if name in own
            }
            return through(plan, weights)

        return self._memory.recall(capture(classifier, images), "propagation", make)

    def _plan(self, classifier: Classifier, images: Tensor) -> Plan:
        """The network as LRP-0 sees it, whose relevance in the form ``c`` is the gradient.

        Raises:
            InputError: the network has operations for which patterns are not defined.
        """
        rules = [{"rule": "zero"}]
        plan = LRP(rules, unsupported="gradient").propagation(classifier, images).plan
        for step in plan.steps:
            if isinstance(step, Gradient | Normalise) or _is_smooth(step):
                raise InputError(
                    "explainer",
                    type(self).__name__,
                    f"is defined for linear layers and ReLUs; this network has {step.node.target} "
                    f"at {plan.flow.paths.get(step.node) or 'its top level'}; "
                    "integrated_gradients explains it",
                )
        return plan

    def _checked(self, classifier: Classifier) -> Patterns:
        """The patterns, which must be those of this network and this estimator."""
        patterns = self._fitted()
        if patterns.weights != weights_hash(classifier.module):
            allowed = "were fitted to a network with other weights; null fits them to this one"
            raise InputError(_KEY, f"{len(patterns.tensors)} layers", allowed)
        if patterns.estimator != self.estimator:
            allowed = f"must be {patterns.estimator}, as for the patterns that were fitted"
            raise InputError("explainer.estimator", self.estimator, allowed)
        return patterns

    def _fitted(self) -> Patterns:
        if isinstance(self.patterns, Patterns):
            return self.patterns
        name = type(self).__name__
        raise InputError(
            _KEY,
            self.patterns,
            f"{name} must be fitted first: a run does so, or reads the file; in Python "
            f"{name}().fit(classifier, batches), or {name}().restored(content, name) for a file",
        )


def _is_smooth(step: Step) -> bool:
    """Whether the step is, or ends in, an activation that is no rectifier."""
    activation = step.node.target
    return bool(step.inputs) and activation in ACTIVATIONS and activation not in _RECTIFIERS


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

"""The network with some of its layers replaced by noise."""

import copy
import gc
import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import ClassVar, Literal

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import derive
from xai_sweep.study.case import Case, images
from xai_sweep.study.subject import Subject
from xai_sweep.transforms.base import Apply, Counterpart, Parameter, Transform
from xai_sweep.transforms.weights.layers import Layer, has_statistics, layers_in_order
from xai_sweep.transforms.weights.redrawn import Distribution, redrawn, reinitialised


@dataclass(frozen=True)
class RandomisedWeights(Transform):
    """The clean image, explained in a copy of the network whose layers are partly random.

    An explanation of what the network has learned must change. The magnitude is a share of the
    layers, counted from the top (the logits) or from the bottom (the pixels). A share that ends
    within a layer includes it, and 0 leaves the network as it is.

    The paper has two tests. In the *cascading* one every layer down to a certain one is random:
    ``order=top``, or ``order=bottom`` in the other direction. In the *independent* one that layer
    alone is random, and all others stay trained: ``order=independent``, with the same layer at the
    same share as ``order=top``, and the same weights in it. (Cascading from the top keeps much of
    a heatmap for reasons of architecture, and does not rank methods: Binder et al. 2023,
    arXiv:2211.12486.)

    Each parameter is drawn from a stream of its own, derived from the sweep's seed, its name and
    the draw. So layers of equal shape get different weights, and a curve's weights are nested: a
    layer that is random at two shares has the same weights at both.

    Layers are modules with parameters of their own, bare parameters included, in the order in
    which they run; see `layers_in_order`. Buffers other than batchnorm's statistics hold no
    weights and are kept.

    Source: Adebayo et al. 2018, "Sanity checks for saliency maps", arXiv:1810.03292.

    Attributes:
        order: ``top``, ``bottom`` or ``independent``.
        distribution: what takes the place of a parameter. ``normal``: normal values of the same
            mean and standard deviation, so that what was learned is lost and the scale of the
            layer's values is not: heatmaps keep a size at which stabilisers and rounding do not
            matter. ``permute``: its own values in another order. ``reinitialise``: as the
            module's ``reset_parameters`` initialises it, for modules with such a method, as in an
            untrained network; over many such layers activations shrink or grow by powers of ten.
        batchnorm: what becomes of the running statistics of a batchnorm that is randomised. Its
            weight and bias are parameters like others. ``reset``: mean 0 and variance 1, as in an
            untrained network. ``keep``: the trained ones.
    """

    order: Literal["top", "bottom", "independent"] = "top"
    distribution: Distribution = "normal"
    batchnorm: Literal["keep", "reset"] = "keep"

    parameter: ClassVar[Parameter] = Parameter("share", "share of layers", minimum=0, maximum=1)
    is_random: ClassVar[bool] = True
    shares_subject: ClassVar[bool] = False

    @override
    def bind(self, subject: Subject) -> Apply:
        if subject.explainer.needs_fit:
            raise InputError(
                "explainer",
                type(subject.explainer).__name__,
                "must be a method that is not fitted to the trained network, because "
                "transform=randomised_weights explains another network",
            )
        return _Randomised(self, subject)

    def chosen(self, layers: Sequence[Layer], share: float) -> tuple[Layer, ...]:
        """The layers that are random at a share, out of all in the order in which they run."""
        # Rounding must not add a layer: 0.07 * 100 is a little more than 7.
        count = math.ceil(share * len(layers) - 1e-9)
        if self.order == "bottom":
            return tuple(layers[:count])
        from_top = tuple(reversed(layers))
        return from_top[max(count - 1, 0) if self.order == "independent" else 0 : count]


class _Randomised:
    """A bound `RandomisedWeights`; it holds the last randomised network, and no other."""

    def __init__(self, transform: RandomisedWeights, subject: Subject) -> None:
        self.transform, self.subject = transform, subject
        self._layers: tuple[Layer, ...] | None = None
        self._last: tuple[tuple[object, ...], Subject] | None = None

    def __call__(
        self, cases: Sequence[Case], magnitudes: Float64[Tensor, " b"], draw: int
    ) -> Counterpart:
        clean = images(cases)
        if len(shares := set(magnitudes.tolist())) > 1:
            raise ValueError(f"one network has one share of random layers, not {sorted(shares)}")
        if len(roots := {case.root for case in cases}) > 1:
            raise ValueError(f"one network is drawn from one seed, not from {sorted(roots)}")
        if self._layers is None:
            self._layers = layers_in_order(self.subject.classifier, clean)
            if not self._layers:
                name = type(self.subject.classifier.module).__name__
                allowed = "must have layers with weights, for transform=randomised_weights"
                raise InputError("model", name, allowed)
        chosen = self.transform.chosen(self._layers, shares.pop())
        if not chosen:
            return Counterpart(clean)
        return Counterpart(clean, subject=self._randomised(chosen, roots.pop(), draw))

    def _randomised(self, chosen: tuple[Layer, ...], root: int, draw: int) -> Subject:
        key = chosen, root, draw
        if self._last is None or self._last[0] != key:
            self._free()
            classifier = self.subject.classifier
            module = _copied(classifier.module)
            for layer in chosen:
                self._randomise(module, layer, root, f"weights, draw {draw}")
            random = replace(classifier, module=module)
            self._last = key, Subject(random, self.subject.explainer)
        return self._last[1]

    def _free(self) -> None:
        """Free the last network before the next one takes memory.

        Graphs that were captured of it hold its weights and are cycles, one of another.
        """
        if self._last is None:
            return
        module = self._last[1].classifier.module
        weight = weakref.ref(next(chain(module.parameters(), module.buffers())))
        del module
        self._last = None
        for _ in range(3):
            if weight() is not None:
                gc.collect()

    @torch.no_grad()
    def _randomise(self, module: nn.Module, layer: Layer, root: int, purpose: str) -> None:
        part, distribution = module.get_submodule(layer.path), self.transform.distribution
        initial: dict[str, Tensor] = {}
        if distribution == "reinitialise":
            initial = reinitialised(part, derive(root, layer.path, purpose))
        for name in layer.parameters:
            parameter = module.get_parameter(name)
            new = initial.get(name.rpartition(".")[2])
            if new is None:
                new = redrawn(parameter, distribution, derive(root, name, purpose))
            parameter.copy_(new)
        if self.transform.batchnorm == "reset" and has_statistics(part):
            part.reset_running_stats()


def _copied(module: nn.Module) -> nn.Module:
    """A copy of a network that can be differentiated, whatever mode the caller is in."""
    try:
        with torch.inference_mode(False):
            return copy.deepcopy(module)
    except RuntimeError as error:  # some tensor of the module is the result of a computation
        reason = " ".join(str(error).split())[:200]
        allowed = f"must be a network that copy.deepcopy can copy: {reason}"
        raise InputError("model", type(module).__name__, allowed) from error

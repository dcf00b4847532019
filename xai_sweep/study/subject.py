"""What is under test: a classifier together with an explanation method."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import Accounted, Explain, Explained, Explainer
from xai_sweep.explainers.segmented import Segmented
from xai_sweep.models.classifier import Classifier, evaluating


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier and how it is explained; nothing is left behind on the network.

    Attributes:
        classifier: what is explained.
        explainer: how.
    """

    classifier: Classifier
    explainer: Explainer

    def logits(self, images: Float[Tensor, "b c h w"]) -> Float64[Tensor, "b classes"]:
        """The network's outputs before softmax, for ``[B, C, H, W]`` in normalised space."""
        network = self.classifier.module
        with torch.no_grad(), evaluating(network):
            outputs: Tensor = network(images)
        return outputs.double()

    def predict(self, images: Float[Tensor, "b c h w"]) -> Float64[Tensor, "b classes"]:
        """Class probabilities for ``[B, C, H, W]`` in normalised space."""
        return self.logits(images).softmax(dim=1)

    def explain(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        """Explain K targets of each image, see `Explainer.explain`."""
        bound = self._bound
        if isinstance(bound, Segmented):
            heatmaps, facts = bound.accounted(images, targets, seeds, carried)
            return Explained(heatmaps, facts, bound.segments(images) if carried is None else None)
        if isinstance(bound, Accounted):
            return Explained(*bound.accounted(images, targets, seeds))
        return Explained(bound(images, targets, seeds))

    @cached_property
    def _bound(self) -> Explain:
        return self.explainer.bind(self.classifier)

    def best(self, probabilities: Float64[Tensor, "b classes"], ranks: int) -> Int64[Tensor, "b k"]:
        """The most probable classes, best first.

        Raises:
            InputError: the network has fewer classes.
        """
        classes = probabilities.shape[1]
        if ranks > classes:
            raise InputError("ranks", ranks, f"must be at most {classes}, the model's classes")
        return probabilities.topk(ranks, dim=1).indices

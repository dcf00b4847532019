"""What is under test: a classifier together with an explanation method."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import seeded_globally
from xai_sweep.explainers.base import Explained, Explainer, check_needs
from xai_sweep.models.checks import examined
from xai_sweep.models.classifier import Classifier, evaluating


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier and how it is explained; nothing is left behind on the network.

    A single image is computed beside a copy of itself: convolutions take another path for a batch
    of one and differ in the last digit, and no number may depend on the batch. A network that draws
    random numbers computes each image by itself, with torch's, numpy's and Python's generators set
    to the image's seed and restored.

    Attributes:
        classifier: what is explained. It is examined with the first images.
        explainer: how.
    """

    classifier: Classifier
    explainer: Explainer

    def logits(
        self, images: Float[Tensor, "b c h w"], seeds: Int64[Tensor, " b"] | None = None
    ) -> Float64[Tensor, "b classes"]:
        """The network's outputs before softmax, for ``[B, C, H, W]`` in normalised space.

        Args:
            images: in normalised space.
            seeds: one per image, for a network that draws random numbers; None means 0.

        Raises:
            InputError: the network cannot be used, see `xai_sweep.models.checks`.
        """
        self._examine(images)
        network = self.classifier.module
        with torch.no_grad(), evaluating(network):
            found = [
                network(_two(images[at]))[: len(images[at])]
                for at in self._parts(len(images), seeds)
            ]
        return torch.cat(found).double()

    def predict(
        self, images: Float[Tensor, "b c h w"], seeds: Int64[Tensor, " b"] | None = None
    ) -> Float64[Tensor, "b classes"]:
        """Class probabilities for ``[B, C, H, W]`` in normalised space; see `logits`."""
        return self.classifier.probabilities(self.logits(images, seeds))

    def explain(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        """Explain K targets of each image, see `Explainer.explain`.

        Raises:
            InputError: the network cannot be used, or not by this method.
        """
        self._examine(images)
        check_needs(self.explainer, self.classifier)
        found = [
            self.explainer.explain(
                self.classifier,
                _two(images[at]),
                _two(targets[at]),
                None if seeds is None else _two(seeds[at]),
                None if carried is None else _two(carried[at]),
            ).part(slice(0, len(images[at])))
            for at in self._parts(len(images), seeds)
        ]
        return Explained.joined(found)

    def best(self, logits: Float64[Tensor, "b classes"], ranks: int) -> Int64[Tensor, "b k"]:
        """The most probable classes, best first.

        Raises:
            InputError: the network has fewer classes.
        """
        classes = logits.shape[1]
        if ranks > classes:
            raise InputError("ranks", ranks, f"must be at most {classes}, the model's classes")
        # By probability and not by logit: probabilities may tie where logits do not.
        return self.classifier.probabilities(logits).topk(ranks, dim=1).indices

    def _examine(self, images: Float[Tensor, "b c h w"]) -> None:
        if self.classifier.examined is None:
            object.__setattr__(self, "classifier", examined(self.classifier, images))

    def _parts(self, count: int, seeds: Int64[Tensor, " b"] | None) -> Iterator[slice]:
        """All images at once; one by one with its seed, if the network draws random numbers."""
        if self.classifier.examined is None or not self.classifier.examined.is_random:
            yield slice(0, count)
            return
        for index, seed in enumerate([0] * count if seeds is None else seeds.tolist()):
            with seeded_globally(seed):
                yield slice(index, index + 1)


def _two(batch: Tensor) -> Tensor:
    """A batch of one as two of the same; any other as it is."""
    return torch.cat([batch, batch]) if len(batch) == 1 else batch

"""What is under test: a classifier together with an explanation method."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import Explained, Explainer
from xai_sweep.models.classifier import Classifier, evaluating


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier and how it is explained; nothing is left behind on the network.

    A single image is computed beside a copy of itself: convolutions take another path for a batch
    of one and differ in the last digit, and no number may depend on the batch.

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
            outputs: Tensor = network(_two(images))
        return outputs[: len(images)].double()

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
        found = self.explainer.explain(
            self.classifier,
            _two(images),
            _two(targets),
            None if seeds is None else _two(seeds),
            None if carried is None else _two(carried),
        )
        return found if len(images) > 1 else found.part(slice(0, 1))

    def best(self, logits: Float64[Tensor, "b classes"], ranks: int) -> Int64[Tensor, "b k"]:
        """The most probable classes, best first.

        Raises:
            InputError: the network has fewer classes.
        """
        classes = logits.shape[1]
        if ranks > classes:
            raise InputError("ranks", ranks, f"must be at most {classes}, the model's classes")
        # By probability and not by logit: probabilities may tie where logits do not.
        return logits.softmax(dim=1).topk(ranks, dim=1).indices


def _two(batch: Tensor) -> Tensor:
    """A batch of one as two of the same; any other as it is."""
    return torch.cat([batch, batch]) if len(batch) == 1 else batch

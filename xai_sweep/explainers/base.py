"""The contract of every explanation method.

An explainer is a value. Bound to a classifier it is a pure function of images and targets, which
leaves nothing behind on the user's module: no hook, no flag, no gradient, also when it raises.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from xai_sweep.models.classifier import Classifier


@runtime_checkable
class Explain(Protocol):
    """A bound explainer."""

    def __call__(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b k h w"]:
        """Explain K targets of each image.

        Args:
            images: ``[B, C, H, W]`` in the model's own, normalised space.
            targets: class indices ``int64[B, K]``.
            seeds: one per image, for methods that draw; others ignore them.

        Returns:
            Signed relevance per pixel ``[B, K, H, W]``, channels summed, detached.
        """
        ...


@runtime_checkable
class Accounted(Explain, Protocol):
    """A bound explainer that says how much of the logit arrived, and where the rest went."""

    def accounted(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
    ) -> tuple[Float[Tensor, "b k h w"], Mapping[str, Float64[Tensor, "b k"]]]:
        """Heatmaps as from `Explain`, and columns of the rows' health by their name."""
        ...

    def notes(self, images: Float[Tensor, "b c h w"]) -> Mapping[str, Any]:
        """What the manifest should say; also refuses a network that cannot be explained.

        Raises:
            InputError: naming the layer.
        """
        ...


class Explainer(ABC):
    """An explanation method with its parameters.

    Class attributes:
        is_deterministic: the same image and target always give the same heatmap; otherwise the
            heatmap also depends on the seed, and on nothing else.
        is_signed: heatmaps hold evidence against the target as negative relevance.
        is_class_sensitive: the heatmap depends on the target.
        conserves: the heatmap sums to the target's logit, up to what biases absorb.
        needs_fit: it must see images before it can explain any, see `Fittable`.
        source: where the method is defined.
    """

    is_deterministic: ClassVar[bool] = True
    is_signed: ClassVar[bool] = True
    is_class_sensitive: ClassVar[bool] = True
    conserves: ClassVar[bool] = False
    needs_fit: ClassVar[bool] = False
    source: ClassVar[str]

    @abstractmethod
    def bind(self, classifier: Classifier) -> Explain:
        """The method as a pure function for this classifier.

        Raises:
            InputError: the method cannot explain this network; the message names the layer.
        """

    def identity(self) -> dict[str, str]:
        """Hashes of the files that a parameter names, by its key; none for most methods.

        Raises:
            InputError: there is no such file.
        """
        return {}


def target_gradients(
    logits: Float[Tensor, "b classes"], at: Tensor, targets: Int64[Tensor, "b k"]
) -> Tensor:
    """Gradients of each image's K target logits at ``at`` (``[B, ...]``), from one forward pass.

    Returns:
        ``[B, K, ...]``, detached.
    """
    count = targets.shape[1]
    chosen = logits.gather(1, targets)
    gradients = [
        torch.autograd.grad(chosen[:, rank].sum(), at, retain_graph=rank < count - 1)[0]
        for rank in range(count)
    ]
    return torch.stack(gradients, dim=1)

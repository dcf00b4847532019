"""The contract of every explanation method.

An explainer is a value. Bound to a classifier it is a pure function of images and targets, which
leaves nothing behind on the user's module: no hook, no flag, no gradient, also when it raises.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int64, Num
from torch import Tensor

from xai_sweep.graphs.quickest import quickest
from xai_sweep.models.classifier import Classifier, check_targets, evaluating


@dataclass(frozen=True, eq=False)
class Explained:
    """Explanations of a batch of images.

    Attributes:
        heatmaps: signed relevance per pixel, ``[B, K, H, W]``, channels summed, at the images'
            size, detached.
        facts: the columns that the method declares, by name, ``[B, K]`` each.
        carried: what changed copies of the images should be explained with, moved along with them,
            for example superpixels: ``int64[B, H, W]``, a label per pixel. None if every copy is
            explained from scratch.
    """

    heatmaps: Float[Tensor, "b k h w"]
    facts: Mapping[str, Num[Tensor, "b k"]] = field(default_factory=dict)
    carried: Int64[Tensor, "b h w"] | None = None

    def part(self, at: slice) -> "Explained":
        """The explanations of some of the images."""
        return Explained(
            self.heatmaps[at],
            {name: values[at] for name, values in self.facts.items()},
            None if self.carried is None else self.carried[at],
        )


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
        conserves: the heatmap sums to the target's logit, up to what biases absorb, or a baseline
            without the image scores already.
        needs_fit: it must see images before it can explain any, see `Fittable`.
        is_control: the heatmap does not depend on the network; a method that is no better is
            worth nothing. Their names are
            also in `xai_sweep.config.controls`, for those without torch.
        source: where the method is defined.
    """

    is_deterministic: ClassVar[bool] = True
    is_signed: ClassVar[bool] = True
    is_class_sensitive: ClassVar[bool] = True
    conserves: ClassVar[bool] = False
    needs_fit: ClassVar[bool] = False
    is_control: ClassVar[bool] = False
    source: ClassVar[str]

    def cost_in_forwards(self, targets: int = 1) -> float:
        """What a photo of 224 pixels costs, in forward passes of the network.

        A method, for it follows from the parameters. A backward pass to the pixels is counted as
        one; it takes one to one and a half times as long. Not a number where it is not known.

        Args:
            targets: K, how many targets are explained at once.
        """
        return 1.0 + targets

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


def target_scores(
    outputs: Float[Tensor, "b classes"], targets: Int64[Tensor, "b k"]
) -> Float[Tensor, "b k"]:
    """Each image's outputs at its K targets.

    Raises:
        InputError: a target that is not a class of the network.
    """
    check_targets(targets, outputs.shape[1])
    # Cloned, for autograd cannot keep what was made in inference mode.
    return outputs.gather(1, targets.clone())


@contextmanager
def differentiable(images: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, "b c h w"]]:
    """A copy of the images at which gradients can be taken, in whatever mode the caller is."""
    with torch.inference_mode(False), torch.enable_grad():
        yield images.clone().detach().requires_grad_()


def pixel_gradients(
    classifier: Classifier,
    images: Float[Tensor, "b c h w"],
    targets: Int64[Tensor, "b k"],
    often: bool = False,
) -> Float[Tensor, "b k c h w"]:
    """Gradients of each image's K target logits at its pixels: one forward pass, K backward.

    Args:
        classifier: the network.
        images: ``[B, C, H, W]``.
        targets: ``int64[B, K]``.
        often: whether an image is asked for so many of them that it pays to capture the network
            first, which takes seconds.

    Raises:
        InputError: a target that is not a class of the network.
    """
    with evaluating(classifier.module), differentiable(images) as pixels:
        network = quickest(classifier, images, gradients=True) if often else classifier.module
        # A network may begin with an operation in place, which a leaf does not allow.
        return target_gradients(network(pixels.clone()), pixels, targets)


def target_gradients(
    logits: Float[Tensor, "b classes"], at: Tensor, targets: Int64[Tensor, "b k"]
) -> Tensor:
    """Gradients of each image's K target logits at ``at`` (``[B, ...]``), from one forward pass.

    Returns:
        ``[B, K, ...]``, detached.

    Raises:
        InputError: a target that is not a class of the network.
    """
    count = targets.shape[1]
    chosen = target_scores(logits, targets)
    gradients = [
        torch.autograd.grad(chosen[:, rank].sum(), at, retain_graph=rank < count - 1)[0]
        for rank in range(count)
    ]
    return torch.stack(gradients, dim=1)

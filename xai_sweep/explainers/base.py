"""The contract of every explanation method.

An explainer is a value, and `explain` is pure: it leaves nothing behind on the user's module, no
hook, no flag and no gradient, also when it raises.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float, Int64, Num
from torch import Tensor

from xai_sweep.core.columns import Column
from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import Declared
from xai_sweep.graphs.quickest import quickest
from xai_sweep.models.classifier import Classifier, check_targets, evaluating

Needs: TypeAlias = Literal["answers", "gradients", "graph"]


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

    @staticmethod
    def joined(parts: Sequence["Explained"]) -> "Explained":
        """The explanations of several batches as one; none or all of them carry something."""
        if len(parts) == 1:
            return parts[0]
        carried = [each.carried for each in parts if each.carried is not None]
        return Explained(
            torch.cat([each.heatmaps for each in parts]),
            {name: torch.cat([each.facts[name] for each in parts]) for name in parts[0].facts},
            torch.cat(carried) if carried else None,
        )

    def part(self, at: slice) -> "Explained":
        """The explanations of some of the images."""
        return Explained(
            self.heatmaps[at],
            {name: values[at] for name, values in self.facts.items()},
            None if self.carried is None else self.carried[at],
        )


class Explainer(Declared, ABC):
    """An explanation method with its parameters; a frozen dataclass.

    Class attributes:
        is_deterministic: the same image and target always give the same heatmap; otherwise the
            heatmap also depends on the seed, and on nothing else.
        is_signed: heatmaps hold evidence against the target as negative relevance.
        is_class_sensitive: the heatmap depends on the target.
        conserves: the heatmap sums to the target's logit, except for what biases absorb or a
            baseline without the image already scores. Such a method gives `RELEVANCE_RATIO`.
        needs_fit: it must see images before it can explain any, see `Fittable`.
        needs: what it needs of the network: its ``answers``, their ``gradients`` at the pixels, or
            its ``graph``, which `xai_sweep.graphs.capture` makes.
        is_control: the heatmap does not depend on the network. A method that does no better than
            a control is worth nothing.
        facts: the columns that `explain` fills in beside the heatmaps.
        source: where the method is defined.
    """

    group: ClassVar[str] = "explainer"

    is_deterministic: ClassVar[bool] = True
    is_signed: ClassVar[bool] = True
    is_class_sensitive: ClassVar[bool] = True
    conserves: ClassVar[bool] = False
    needs_fit: ClassVar[bool] = False
    needs: ClassVar[Needs] = "gradients"
    is_control: ClassVar[bool] = False
    facts: ClassVar[tuple[Column, ...]] = ()
    source: ClassVar[str]

    def cost_in_forwards(self, targets: int = 1) -> float:
        """What an image of 224 pixels costs, in forward passes of the network.

        A method, because it depends on the parameters. A backward pass to the pixels counts as
        one; it takes one to one and a half times as long. NaN where the cost is unknown.

        Args:
            targets: K, how many targets are explained at once.
        """
        return 1.0 + targets

    @abstractmethod
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        """Explain K targets of each image.

        Args:
            classifier: whose decision is explained. It is left as it was.
            images: ``[B, C, H, W]`` in the classifier's normalised space.
            targets: class indices ``int64[B, K]``.
            seeds: one per image, for random methods, where None means 0; others ignore them.
            carried: `Explained.carried` of the clean images, moved as the images were; -1 marks
                pixels that have no source. None to explain from scratch.

        Raises:
            InputError: a target that is not a class of the network, or a network that the method
                cannot explain; then the message names the layer.
        """

    def prepare(
        self, classifier: Classifier, images: Float[Tensor, "b c h w"]
    ) -> Mapping[str, Any]:
        """Examine the network before the first image is explained. Changes nothing.

        Args:
            classifier: what will be explained.
            images: two sample images.

        Returns:
            Findings for the manifest, plain JSON values by name.

        Raises:
            InputError: the method cannot explain this network; the message names the layer.
        """
        return {}

    def identity(self) -> dict[str, str]:
        """Hashes of the files that parameters name, by the parameter's key; none for most methods.

        Raises:
            InputError: there is no such file.
        """
        return {}


def check_needs(explainer: Explainer, classifier: Classifier) -> None:
    """Check that a classifier gives what a method needs.

    Raises:
        InputError: it only answers, and the method needs more.
    """
    is_enough = classifier.examined is None or classifier.examined.has_gradients
    if explainer.needs != "answers" and not is_enough:
        raise InputError(
            "explainer",
            type(explainer).__name__,
            f"needs the {explainer.needs} of the network, and this one only answers; must be a "
            "method that asks, such as lime, occlusion, kernel_shap or feature_ablation",
        )


RELEVANCE_RATIO = Column(
    "relevance_ratio",
    "Sum of the counterpart's heatmap divided by the logit of the explained class; 1 if all of the "
    "logit arrives at the pixels. Given by methods that conserve relevance.",
    null="the method does not conserve relevance",
    source="Bach et al. 2015, doi:10.1371/journal.pone.0130140, equation 2",
)


def target_scores(
    outputs: Float[Tensor, "b classes"], targets: Int64[Tensor, "b k"]
) -> Float[Tensor, "b k"]:
    """Each image's outputs at its K targets.

    Raises:
        InputError: a target that is not a class of the network.
    """
    check_targets(targets, outputs.shape[1])
    # Cloned, because autograd cannot save tensors that were made in inference mode.
    return outputs.gather(1, targets.clone())


@contextmanager
def differentiable(images: Float[Tensor, "b c h w"]) -> Iterator[Float[Tensor, "b c h w"]]:
    """A copy of the images at which gradients can be taken, whatever mode the caller is in."""
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
        often: whether each image needs so many gradients that it pays to capture the network
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

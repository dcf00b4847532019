"""LIME for images: batched, repeatable, and with standard errors of its coefficients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.core.errors import ImageError
from xai_sweep.core.seeds import derive
from xai_sweep.explainers.base import Explained, Explainer, Needs
from xai_sweep.explainers.perturbation.superpixels import SuperpixelFinder, with_outside
from xai_sweep.explainers.perturbation.surrogates import (
    FACTS,
    LimeParameters,
    LimeResult,
    MaskedPredictions,
    Surrogate,
    clusters,
    fit,
    hidden,
    independent_rows,
    masks,
)
from xai_sweep.models.classifier import Classifier, evaluating


@dataclass(frozen=True)
class Lime(LimeParameters, Explainer):
    """Weights of superpixels in a local linear model of the class probability.

    With the same masks, coefficients, intercept and R2 are those of the `lime` package with all
    features. Every pixel gets the signed weight of its superpixel. Without seeds, every image is
    explained with the same masks. Parameters: see `LimeParameters`.

    Source: Ribeiro, Singh, Guestrin 2016, "Why should I trust you?", section 3.
    """

    _find: SuperpixelFinder = field(init=False, repr=False, compare=False)

    is_deterministic: ClassVar[bool] = False
    facts: ClassVar[tuple[Column, ...]] = FACTS
    needs: ClassVar[Needs] = "answers"
    source: ClassVar[str] = "Ribeiro et al. 2016, arXiv:1602.04938"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_find", SuperpixelFinder(self.segmentation, self.options))

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return float(sum(self.rounds()))  # the most that `auto` may take

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        found = self.surrogates(classifier, images, targets, seeds, carried)
        if carried is None and self.superpixels == "moved":
            carried = found.labels
        return Explained(found.heatmaps().to(images.dtype), found.facts(), carried)

    @override
    def prepare(
        self, classifier: Classifier, images: Float[Tensor, "b c h w"]
    ) -> Mapping[str, Any]:
        """Measure how far reduced precision moves the probabilities of these images, at most.

        Returns:
            ``probability_difference``, unless the precision is ``float32``.
        """
        if self.precision == "float32":
            return {}
        with torch.no_grad(), evaluating(classifier.module):
            classes = classifier.module(images).shape[1]
        targets = torch.arange(classes, device=images.device).expand(len(images), -1)
        labels = torch.zeros(images[:, 0].shape, dtype=torch.int64, device=images.device)
        shown = torch.ones(len(images), 2, 1, dtype=torch.bool, device=images.device)
        exact, rough = (
            MaskedPredictions(classifier, precision, self.samples_at_once)(
                images, images, labels, shown, targets
            )
            for precision in ("float32", self.precision)
        )
        return {"probability_difference": float((rough - exact).abs().amax())}

    def surrogates(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
        given_masks: Bool[Tensor, "b n p"] | None = None,
    ) -> LimeResult:
        """The linear models, with the coefficients of every superpixel.

        Args:
            classifier: the network.
            images: in normalised space.
            targets: K classes of each image.
            seeds: one per image; the masks depend on it and on the explainer's own seed.
            carried: the superpixel of each pixel, see `Explainer.explain`; None to find them.
            given_masks: to use in a single round, instead of drawing masks.

        Raises:
            InputError: a target that is not a class.
            ImageError: an image of one colour or with a single superpixel, or not more samples
                than superpixels.
        """
        images = images.detach()
        predict = MaskedPredictions(classifier, self.precision, self.samples_at_once)
        labels, present = self._superpixels(classifier, images, carried)
        painted = self._painted(classifier, images, labels, present)
        result = LimeResult.empty(labels, present, targets.shape[1])
        sizes = self.rounds() if given_masks is None else [given_masks.shape[1]]
        design = self.design if given_masks is None else "bernoulli"
        keys = self._keys(images, seeds)
        active = torch.arange(len(images), device=images.device)
        shown = present.new_empty(len(images), 0, present.shape[1])
        scores = torch.empty(len(images), 0, targets.shape[1], device=images.device).double()
        for number, size in enumerate(sizes):
            new = given_masks
            if new is None:
                drawn = [keys(image, number) for image in active.tolist()]
                new = masks(design, drawn, size, present.shape[1], whole_first=number == 0)
            new = new.to(images.device)
            found = predict(images[active], painted[active], labels[active], new, targets[active])
            shown, scores = torch.cat([shown, new], dim=1), torch.cat([scores, found], dim=1)
            pairs = clusters(design, sizes[: number + 1])
            model = fit(shown, present[active], scores, pairs, self.kernel_width, self.alpha)
            last = number == len(sizes) - 1
            result.fill(active, model, shown.shape[1], self._is_precise(model) | last)
            left = result.unfinished(active)
            active, shown, scores = active[left], shown[left], scores[left]
            if not len(active):
                break
        return result

    def _superpixels(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        carried: Int64[Tensor, "b h w"] | None,
    ) -> tuple[Int64[Tensor, "b h w"], Bool[Tensor, "b p"]]:
        """The superpixel of each pixel, and which superpixels each image has."""
        if carried is None:
            labels = self._find(classifier.normalisation.to_pixels(images))
        else:
            labels = with_outside(carried)
        present = torch.zeros(
            len(images), int(labels.amax()) + 1, dtype=torch.bool, device=images.device
        ).scatter_(1, labels.flatten(1), True)
        if self.hide == "mean" and (images == images[..., :1, :1]).flatten(1).all(dim=1).any():
            raise ImageError(
                "an image of one colour: hiding its superpixels changes nothing; leave it out"
            )
        if (present.sum(dim=1) < 2).any():
            raise ImageError(
                f"explainer.segmentation={self.segmentation}: found a single superpixel, and LIME "
                "needs at least two; explainer.options changes their size"
            )
        most = sum(self.rounds())
        for count in present.sum(dim=1).tolist():
            if independent_rows(self.design, most) <= count:
                raise ImageError(
                    f"explainer.num_samples={most}: must be more than the {count} superpixels "
                    "of the image, and twice as many with complements (design)"
                )
        return labels, present

    def _painted(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        labels: Int64[Tensor, "b h w"],
        present: Bool[Tensor, "b p"],
    ) -> Float[Tensor, "b c h w"]:
        """The images with everything hidden."""
        if self.hide == "mean":
            return hidden(images, labels, present.shape[1])
        return classifier.normalisation.to_normalised(torch.full_like(images, self.hide))

    def _keys(
        self, images: Float[Tensor, "b c h w"], seeds: Int64[Tensor, " b"] | None
    ) -> Callable[[int, int], tuple[int, int]]:
        """What the masks of an image are drawn from, in each round."""
        own_seeds = [0] * len(images) if seeds is None else seeds.tolist()
        contents = [""] * len(images)
        if self.masks == "independent":
            contents = [sha256(each.cpu().numpy().tobytes()).hexdigest() for each in images]

        def key(image: int, number: int) -> tuple[int, int]:
            derived = derive(self.seed, contents[image], f"masks of round {number}")
            return own_seeds[image] % 2**64, derived

        return key

    def _is_precise(self, model: Surrogate) -> Bool[Tensor, "b k"]:
        errors = model.stderr.square().sum(dim=2)
        return errors <= self.stderr**2 * model.coefficients.square().sum(dim=2)

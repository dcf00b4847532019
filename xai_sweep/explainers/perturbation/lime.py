"""LIME for images: batched, repeatable, and with the standard errors of what it says."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int64, Num
from torch import Tensor

from xai_sweep.core.errors import ImageError
from xai_sweep.core.seeds import derive
from xai_sweep.explainers.base import Explainer
from xai_sweep.explainers.perturbation.surrogates import (
    Answers,
    LimeParameters,
    MaskedPredictions,
    SuperpixelFinder,
    Surrogate,
    clusters,
    fit,
    hidden,
    independent_rows,
    masks,
    moved_labels,
)
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class Lime(LimeParameters, Explainer):
    """Weights of superpixels in a local linear model of the class probability.

    With the same masks, coefficients, intercept and R2 are those of the `lime` package with all
    features. Every superpixel is painted with its signed weight. Parameters: see `LimeParameters`.

    Source: Ribeiro, Singh, Guestrin 2016, "Why should I trust you?", section 3.
    """

    is_deterministic: ClassVar[bool] = False
    source: ClassVar[str] = "Ribeiro et al. 2016, arXiv:1602.04938"

    def cost_in_forwards(self, targets: int = 1) -> float:
        """Masked images per image; at most, if their number is found while working."""
        return float(sum(self.rounds()))

    def bind(self, classifier: Classifier) -> "BoundLime":
        """See `Explainer.bind`."""
        return BoundLime(self, classifier)


class BoundLime:
    """LIME for one classifier."""

    def __init__(self, explainer: LimeParameters, classifier: Classifier) -> None:
        self.explainer = explainer
        self.classifier = classifier
        self.find = SuperpixelFinder(explainer.segmentation, explainer.options)
        self.predict = MaskedPredictions(classifier, explainer.precision, explainer.samples_at_once)

    def __call__(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b k h w"]:
        """See `Explain`. Without seeds every image is explained with the same masks."""
        return self.explanation(images, targets, seeds).heatmaps().to(images.dtype)

    def accounted(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        segments: Int64[Tensor, "b h w"] | None = None,
    ) -> tuple[Float[Tensor, "b k h w"], dict[str, Num[Tensor, "b k"]]]:
        """See `Segmented`.

        Returns:
            The heatmaps, and ``surrogate_r2``, ``num_samples``, ``coefficient_stderr`` (mean over
            superpixels).
        """
        found = self.explanation(images, targets, seeds, segments)
        return found.heatmaps().to(images.dtype), found.health()

    def segments(self, images: Float[Tensor, "b c h w"]) -> Int64[Tensor, "b h w"] | None:
        """See `Segmented`."""
        if self.explainer.segments == "own":
            return None
        return self.find(self.classifier.normalisation.to_pixels(images))

    def notes(self, images: Float[Tensor, "b c h w"]) -> dict[str, Any]:
        """How far reduced precision moves the probabilities of these images, at most."""
        if self.explainer.precision == "float32":
            return {}
        exact = MaskedPredictions(self.classifier, "float32", self.explainer.samples_at_once)
        labels = torch.zeros(images[:, 0].shape, dtype=torch.int64, device=images.device)
        shown = torch.ones(len(images), 2, 1, dtype=torch.bool, device=images.device)
        with torch.no_grad():
            classes = self.classifier.module(images).shape[1]
        every = torch.arange(classes, device=images.device).expand(len(images), -1)
        rough = self.predict(images, images, labels, shown, every)
        difference = (rough - exact(images, images, labels, shown, every)).abs().amax()
        return {"probability_difference": float(difference)}

    def explanation(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        segments: Int64[Tensor, "b h w"] | None = None,
        given_masks: Bool[Tensor, "b n p"] | None = None,
    ) -> Answers:
        """Coefficients of every superpixel.

        Args:
            images: in normalised space.
            targets: K classes of each image.
            seeds: one per image; the masks depend on it and on the explainer's own seed.
            segments: see `Segmented`.
            given_masks: to be used, in one round, instead of drawn ones.

        Raises:
            InputError: a target that is not a class.
            ImageError: an image of one colour or with a single superpixel, or not more samples
                than superpixels.
        """
        wish, images = self.explainer, images.detach()
        labels, present = self._superpixels(images, segments)
        painted = self._painted(images, labels, present)
        answers = Answers.to_come(labels, present, targets.shape[1])
        sizes = wish.rounds() if given_masks is None else [given_masks.shape[1]]
        keys = self._keys(images, seeds)
        active = torch.arange(len(images), device=images.device)
        shown = present.new_empty(len(images), 0, present.shape[1])
        scores = torch.empty(len(images), 0, targets.shape[1], device=images.device).double()
        for number, size in enumerate(sizes):
            new = given_masks
            if new is None:
                drawn = [keys(image, number) for image in active.tolist()]
                new = masks(wish.design, drawn, size, present.shape[1], whole_first=number == 0)
            new = new.to(images.device)
            found = self.predict(
                images[active], painted[active], labels[active], new, targets[active]
            )
            shown, scores = torch.cat([shown, new], dim=1), torch.cat([scores, found], dim=1)
            design = wish.design if given_masks is None else "bernoulli"
            pairs = clusters(design, sizes[: number + 1])
            model = fit(shown, present[active], scores, pairs, wish.kernel_width, wish.alpha)
            last = number == len(sizes) - 1
            answers.take(active, model, shown.shape[1], self._precise(model) | last)
            left = answers.open(active)
            active, shown, scores = active[left], shown[left], scores[left]
            if not len(active):
                break
        return answers

    def _superpixels(
        self, images: Float[Tensor, "b c h w"], segments: Int64[Tensor, "b h w"] | None
    ) -> tuple[Int64[Tensor, "b h w"], Bool[Tensor, "b p"]]:
        """The superpixel of each pixel, and which superpixels each image has."""
        wish = self.explainer
        if segments is None:
            labels = self.find(self.classifier.normalisation.to_pixels(images))
        else:
            labels = moved_labels(segments)
        present = torch.zeros(
            len(images), int(labels.amax()) + 1, dtype=torch.bool, device=images.device
        ).scatter_(1, labels.flatten(1), True)
        if wish.hide == "mean" and (images == images[..., :1, :1]).flatten(1).all(dim=1).any():
            raise ImageError("an image of one colour: hiding its superpixels changes nothing")
        if (present.sum(dim=1) < 2).any():
            raise ImageError(
                f"explainer.segmentation={wish.segmentation}: found a single superpixel, and LIME "
                "needs at least two; explainer.options changes their size"
            )
        most = sum(wish.rounds())
        for count in present.sum(dim=1).tolist():
            if independent_rows(wish.design, most) <= count:
                raise ImageError(
                    f"explainer.num_samples={most}: must be more than the {count} superpixels "
                    "of the image, and twice as many with complements (design)"
                )
        return labels, present

    def _painted(
        self,
        images: Float[Tensor, "b c h w"],
        labels: Int64[Tensor, "b h w"],
        present: Bool[Tensor, "b p"],
    ) -> Float[Tensor, "b c h w"]:
        """The images with everything hidden."""
        if self.explainer.hide == "mean":
            return hidden(images, labels, present.shape[1])
        level = torch.full_like(images, self.explainer.hide)
        return self.classifier.normalisation.to_normalised(level)

    def _keys(
        self, images: Float[Tensor, "b c h w"], seeds: Int64[Tensor, " b"] | None
    ) -> Callable[[int, int], tuple[int, int]]:
        """What the masks of an image are drawn from, in each round."""
        wish = self.explainer
        of_image = [0] * len(images) if seeds is None else seeds.tolist()
        contents = [""] * len(images)
        if wish.masks == "independent":
            contents = [sha256(each.cpu().numpy().tobytes()).hexdigest() for each in images]

        def key(image: int, number: int) -> tuple[int, int]:
            own = derive(wish.seed, contents[image], f"masks of round {number}")
            return of_image[image] % 2**64, own

        return key

    def _precise(self, model: Surrogate) -> Bool[Tensor, "b k"]:
        errors = model.stderr.square().sum(dim=2)
        return errors <= self.explainer.stderr**2 * model.coefficients.square().sum(dim=2)

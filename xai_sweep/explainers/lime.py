"""LIME for images: batched, repeatable, and with the standard errors of what it says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int64, Num
from torch import Tensor

from xai_sweep.errors import ImageError, InputError
from xai_sweep.explainers.base import Explainer
from xai_sweep.lime import (
    DESIGNS,
    PRECISIONS,
    Answers,
    MaskedPredictions,
    SuperpixelFinder,
    Surrogate,
    check_options,
    clusters,
    fit,
    hidden,
    independent_rows,
    masks,
    moved_labels,
)
from xai_sweep.models.classifier import Classifier
from xai_sweep.seeds import derive

_CHOICES = {
    "design": tuple(DESIGNS),
    "masks": ("common", "independent"),
    "segments": ("own", "moved"),
    "precision": tuple(PRECISIONS),
}
# The first round of `num_samples=auto`; each later one doubles the samples.
_FIRST_ROUND = 128


@dataclass(frozen=True)
class Lime(Explainer):
    """Weights of superpixels in a local linear model of the class probability.

    With the same masks, coefficients, intercept and R2 are those of the `lime` package with all
    features. Every superpixel is painted with its signed weight.

    Attributes:
        num_samples: masked images per image, the whole one among them; or ``auto``, which doubles
            them until the standard error is small enough, for each image and target by itself.
        seed: root of the masks, together with the image's own seed.
        segmentation: ``quickshift``, ``slic``, ``felzenszwalb`` (scikit-image) or ``grid``.
        options: parameters of the segmentation; quickshift's are by default those of the package.
        hide: what hidden superpixels are painted with: ``mean``, their own mean colour; or a grey
            level in [0, 1].
        design: ``bernoulli``, as in the package; ``paired``, each mask with its complement;
            ``orthogonal``, the same with rows of a Hadamard matrix.
        masks: ``common``, an image and its changed copies see the same masks; ``independent``.
        segments: ``own``, found anew in each copy; ``moved``, those of the clean image.
        kernel_width: of the exponential kernel on the cosine distance.
        alpha: ridge penalty.
        stderr: for ``auto``: the standard error at which to stop, relative to the coefficients,
            both as root mean squares over the superpixels.
        max_samples: for ``auto``: where to stop anyway.
        precision: of the masked forward passes: ``float32``, ``bfloat16`` or ``float16``.
        samples_at_once: masked images per forward pass; null for what is fast.

    Source: Ribeiro, Singh, Guestrin 2016, "Why should I trust you?", section 3.
    """

    num_samples: Any = 1000
    seed: int = 0
    segmentation: str = "quickshift"
    options: Any = None
    hide: Any = "mean"
    design: str = "bernoulli"
    masks: str = "common"
    segments: str = "own"
    kernel_width: float = 0.25
    alpha: float = 1.0
    stderr: float = 0.1
    max_samples: int = 8192
    precision: str = "float32"
    samples_at_once: int | None = None

    is_deterministic: ClassVar[bool] = False
    source: ClassVar[str] = "Ribeiro et al. 2016, arXiv:1602.04938"

    def __post_init__(self) -> None:
        check_options(self.segmentation, self.options)
        given: Mapping[str, str] = {
            "design": self.design,
            "masks": self.masks,
            "segments": self.segments,
            "precision": self.precision,
        }
        for key, value in given.items():
            if value not in _CHOICES[key]:
                allowed = f"must be one of {', '.join(_CHOICES[key])}"
                raise InputError(f"explainer.{key}", value, allowed)
        if self.num_samples != "auto" and not _is_count(self.num_samples, 2):
            allowed = "must be auto or a whole number of at least 2"
            raise InputError("explainer.num_samples", self.num_samples, allowed)
        is_level = isinstance(self.hide, int | float) and not isinstance(self.hide, bool)
        if self.hide != "mean" and not (is_level and 0 <= self.hide <= 1):
            raise InputError("explainer.hide", self.hide, "must be mean or a number in [0, 1]")
        for key, number in (("kernel_width", self.kernel_width), ("stderr", self.stderr)):
            if not number > 0:
                raise InputError(f"explainer.{key}", number, "must be more than 0")
        if not self.alpha > 0:
            raise InputError("explainer.alpha", self.alpha, "must be more than 0")
        if self.max_samples < _FIRST_ROUND:
            allowed = f"must be at least {_FIRST_ROUND}"
            raise InputError("explainer.max_samples", self.max_samples, allowed)
        if self.samples_at_once is not None and not _is_count(self.samples_at_once, 1):
            allowed = "must be null or a whole number of at least 1"
            raise InputError("explainer.samples_at_once", self.samples_at_once, allowed)

    def rounds(self) -> list[int]:
        """Samples of each round."""
        if self.num_samples != "auto":
            return [self.num_samples]
        totals = [_FIRST_ROUND]
        while totals[-1] < self.max_samples:
            totals.append(min(2 * totals[-1], self.max_samples))
        return [new - old for old, new in zip([0, *totals], totals, strict=False)]

    def cost_in_forwards(self, targets: int = 1) -> float:
        """Masked images per image; at most, if their number is found while working."""
        return float(sum(self.rounds()))

    def bind(self, classifier: Classifier) -> "BoundLime":
        """See `Explainer.bind`."""
        return BoundLime(self, classifier)


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


class BoundLime:
    """LIME for one classifier."""

    def __init__(self, explainer: Lime, classifier: Classifier) -> None:
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

"""Feature ablation: superpixels are taken away one at a time."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.explainers.base import Explain, Explainer
from xai_sweep.explainers.baselines import baseline_like, check_baseline
from xai_sweep.explainers.perturbation.perturbed import perturbed_scores
from xai_sweep.explainers.perturbation.segments import check_segments, segmented
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class FeatureAblation(Explainer):
    """How much the target's logit falls when a segment is replaced, spread over its pixels.

    captum paints every pixel with the fall itself. Here it is the same: a segment's pixels all
    have its fall, whatever its size.

    Source: Kokhlikyan et al. 2020, "Captum", section 2; for superpixels Robnik-Sikonja and
    Kononenko 2008, "Explaining classifications for individual instances", section 3.

    Attributes:
        segmentation: ``slic`` or ``grid``.
        segments: about how many.
        baseline: what replaces a segment: ``mean`` (zero in the network's normalised space),
            ``black`` or ``white``.
    """

    segmentation: str = "slic"
    segments: int = 100
    baseline: str = "mean"

    source: ClassVar[str] = "Kokhlikyan et al. 2020, arXiv:2009.07896"

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        check_segments(self.segmentation, self.segments)

    def cost_in_forwards(self, targets: int = 1) -> float:
        """See `Explainer.cost_in_forwards`; does not depend on targets, with slic only about."""
        grid = int(self.segments**0.5) ** 2
        return 1.0 + (grid if self.segmentation == "grid" else self.segments)

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            labels = segmented(images, self.segmentation, self.segments, classifier)
            # An image with fewer segments than another is asked again as it is: a fall of 0.
            masks = (labels == number for number in range(-1, int(labels.max()) + 1))
            cover = baseline_like(images, self.baseline, classifier)
            scores = perturbed_scores(classifier, images, cover, masks, targets)
            falls = (scores[:, :1] - scores[:, 1:]).transpose(1, 2)
            where = labels.flatten(1)[:, None].expand(-1, targets.shape[1], -1)
            return falls.gather(2, where).view(*targets.shape, *labels.shape[1:])

        return explain

"""Feature ablation: superpixels are replaced one at a time."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.base import Explained, Explainer, Needs
from xai_sweep.explainers.baselines import Baseline, baseline_like
from xai_sweep.explainers.perturbation.perturbed import perturbed_scores
from xai_sweep.explainers.perturbation.superpixels import (
    CountedSegmentation,
    SuperpixelFinder,
    options_for,
)
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class FeatureAblation(Explainer):
    """How far the target's logit falls when a superpixel is replaced.

    As in captum, every pixel gets the whole fall of its superpixel, whatever the superpixel's size.

    Source: Kokhlikyan et al. 2020, "Captum", section 2; for superpixels Robnik-Sikonja and
    Kononenko 2008, "Explaining classifications for individual instances", section 3.

    Attributes:
        segmentation: ``slic`` or ``grid``.
        num_superpixels: about how many.
        baseline: what replaces a superpixel: ``mean`` (zero in the network's normalised space),
            ``black`` or ``white``.
    """

    segmentation: CountedSegmentation = "slic"
    num_superpixels: Annotated[int, Ge(2)] = 100
    baseline: Baseline = "mean"
    _find: SuperpixelFinder = field(init=False, repr=False, compare=False)

    needs: ClassVar[Needs] = "answers"
    source: ClassVar[str] = "Kokhlikyan et al. 2020, arXiv:2009.07896"

    def __post_init__(self) -> None:
        super().__post_init__()
        options = options_for(self.segmentation, self.num_superpixels)
        object.__setattr__(self, "_find", SuperpixelFinder(self.segmentation, options))

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        if self.segmentation == "grid":
            return 1.0 + int(self.num_superpixels**0.5) ** 2
        return 1.0 + self.num_superpixels  # about: slic decides for itself

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        labels = self._find(classifier.normalisation.to_pixels(images))
        # An image with fewer superpixels than another is predicted unchanged, with a fall of 0.
        masks = (labels == number for number in range(-1, int(labels.max()) + 1))
        cover = baseline_like(images, self.baseline, classifier)
        scores = perturbed_scores(classifier, images, cover, masks, targets)
        falls = (scores[:, :1] - scores[:, 1:]).transpose(1, 2)
        where = labels.flatten(1)[:, None].expand(-1, targets.shape[1], -1)
        return Explained(falls.gather(2, where).view(*targets.shape, *labels.shape[1:]))

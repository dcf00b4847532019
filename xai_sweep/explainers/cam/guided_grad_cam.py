"""Guided Grad-CAM on the captured graph."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.explainers.base import Explain, Explainer
from xai_sweep.explainers.cam.grad_cam import GradCam
from xai_sweep.explainers.gradient.guided_backprop import GuidedBackprop
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class GuidedGradCam(Explainer):
    """Guided backpropagation where Grad-CAM sees evidence: the product of the two heatmaps.

    Source: Selvaraju et al. 2017, "Grad-CAM", section 3.2.

    Attributes:
        layer: of Grad-CAM: module path; by default the last map with more than one pixel.
    """

    layer: str | None = None

    source: ClassVar[str] = "Selvaraju et al. 2017, arXiv:1610.02391"

    def cost_in_forwards(self, targets: int = 1) -> float:
        """See `Explainer.cost_in_forwards`."""
        return GradCam().cost_in_forwards(targets) + GuidedBackprop().cost_in_forwards(targets)

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""
        where = GradCam(self.layer).bind(classifier)
        what = GuidedBackprop().bind(classifier)

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            return where(images, targets) * what(images, targets)

        return explain

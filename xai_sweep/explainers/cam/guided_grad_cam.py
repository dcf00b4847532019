"""Guided Grad-CAM on the captured graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.base import Explained, Explainer, Needs
from xai_sweep.explainers.cam.grad_cam import GradCam
from xai_sweep.explainers.gradient.guided_backprop import GuidedBackprop
from xai_sweep.explainers.gradient.rectifiers import Ruled
from xai_sweep.graphs.maps import LayerName
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class GuidedGradCam(Explainer):
    """Guided backpropagation where Grad-CAM sees evidence: the product of the two heatmaps.

    Source: Selvaraju et al. 2017, "Grad-CAM", section 3.2.

    Attributes:
        layer: of Grad-CAM: module path or fraction of depth; by default the last map with more than
            one pixel.
        activations: of guided backpropagation, see `GuidedBackprop`.
    """

    layer: LayerName = None
    activations: Ruled = "rectifiers"

    needs: ClassVar[Needs] = "graph"
    source: ClassVar[str] = "Selvaraju et al. 2017, arXiv:1610.02391"

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return GradCam().cost_in_forwards(targets) + GuidedBackprop().cost_in_forwards(targets)

    @override
    def prepare(
        self, classifier: Classifier, images: Float[Tensor, "b c h w"]
    ) -> Mapping[str, Any]:
        return {
            **GradCam(self.layer).prepare(classifier, images),
            **GuidedBackprop(self.activations).prepare(classifier, images),
        }

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        where = GradCam(self.layer).explain(classifier, images, targets)
        what = GuidedBackprop(self.activations).explain(classifier, images, targets)
        return Explained(where.heatmaps * what.heatmaps)

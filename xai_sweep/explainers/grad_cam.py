"""Gradient-weighted class activation maps on the captured graph."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor

from xai_sweep.errors import InputError
from xai_sweep.explainers.activations import activation_and_gradients, enlarged
from xai_sweep.explainers.base import Explain, Explainer
from xai_sweep.models.classifier import Classifier

POLARITIES = ("evidence", "counter", "both")


@dataclass(frozen=True)
class GradCam(Explainer):
    """Activation maps of one layer, weighted by the mean gradient of the target's logit.

    ``evidence`` is the paper's map, ``relu(sum_k w_k A_k)``; ``counter`` is its counterfactual
    map, evidence against the class, with negative sign; ``both`` is the signed sum. The map is
    enlarged bilinearly to the size of the image.

    Source: Selvaraju et al. 2017, "Grad-CAM", equations 1 and 2, and section 3.3 for ``counter``.

    Attributes:
        layer: module path, e.g. ``features.29``; by default the last map with more than one pixel.
        polarity: ``evidence``, ``counter`` or ``both``.
    """

    layer: str | None = None
    polarity: str = "evidence"

    source: ClassVar[str] = "Selvaraju et al. 2017, arXiv:1610.02391"

    def __post_init__(self) -> None:
        if self.polarity not in POLARITIES:
            raise InputError(
                "explainer.polarity", self.polarity, f"must be one of {', '.join(POLARITIES)}"
            )

    def cost_in_forwards(self, targets: int = 1) -> float:
        """See `Explainer.cost_in_forwards`; backward passes end at the layer, at the top of it."""
        return 1.0

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            maps, gradients = activation_and_gradients(classifier, self.layer, images, targets)
            weights = gradients.mean(dim=(-2, -1), keepdim=True)
            heatmaps = (weights * maps.unsqueeze(1)).sum(dim=2)
            if self.polarity == "evidence":
                heatmaps = heatmaps.clamp(min=0)
            elif self.polarity == "counter":
                heatmaps = heatmaps.clamp(max=0)
            return enlarged(heatmaps, images)

        return explain

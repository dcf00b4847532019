"""Gradient-weighted class activation maps on the captured graph."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.cam.activations import GradientActivations


@dataclass(frozen=True)
class GradCam(GradientActivations):
    """Activation maps of one layer, weighted by the mean gradient of the target's logit.

    ``evidence`` is the paper's map, ``relu(sum_k w_k A_k)``; ``counter`` is its counterfactual
    map, evidence against the class, which is negative; ``both`` is the signed sum.

    Source: Selvaraju et al. 2017, "Grad-CAM", equations 1 and 2, and section 3.3 for ``counter``.

    Attributes:
        layer: module path, e.g. ``features.29``, or a fraction of depth from 0 to 1; by default the
            last map with more than one pixel. See `xai_sweep.graphs.maps.find_map`.
        polarity: ``evidence``, ``counter`` or ``both``.
    """

    polarity: Literal["evidence", "counter", "both"] = "evidence"

    source: ClassVar[str] = "Selvaraju et al. 2017, arXiv:1610.02391"

    @override
    def combined(
        self, maps: Float[Tensor, "b n i j"], gradients: Float[Tensor, "b k n i j"]
    ) -> Float[Tensor, "b k i j"]:
        weights = gradients.mean(dim=(-2, -1), keepdim=True)
        heatmaps = (weights * maps.unsqueeze(1)).sum(dim=2)
        if self.polarity == "evidence":
            return heatmaps.clamp(min=0)
        return heatmaps.clamp(max=0) if self.polarity == "counter" else heatmaps

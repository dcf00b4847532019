"""Gradient-weighted class activation maps on the captured graph."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.cam.activations import GradientActivations

POLARITIES = ("evidence", "counter", "both")


@dataclass(frozen=True)
class GradCam(GradientActivations):
    """Activation maps of one layer, weighted by the mean gradient of the target's logit.

    ``evidence`` is the paper's map, ``relu(sum_k w_k A_k)``; ``counter`` is its counterfactual
    map, evidence against the class, with negative sign; ``both`` is the signed sum.

    Source: Selvaraju et al. 2017, "Grad-CAM", equations 1 and 2, and section 3.3 for ``counter``.

    Attributes:
        layer: module path, e.g. ``features.29``; by default the last map with more than one pixel.
        polarity: ``evidence``, ``counter`` or ``both``.
    """

    polarity: str = "evidence"

    source: ClassVar[str] = "Selvaraju et al. 2017, arXiv:1610.02391"

    def __post_init__(self) -> None:
        if self.polarity not in POLARITIES:
            raise InputError(
                "explainer.polarity", self.polarity, f"must be one of {', '.join(POLARITIES)}"
            )

    def combined(
        self, maps: Float[Tensor, "b n i j"], gradients: Float[Tensor, "b k n i j"]
    ) -> Float[Tensor, "b k i j"]:
        """See `GradientActivations.combined`."""
        weights = gradients.mean(dim=(-2, -1), keepdim=True)
        heatmaps = (weights * maps.unsqueeze(1)).sum(dim=2)
        if self.polarity == "evidence":
            return heatmaps.clamp(min=0)
        return heatmaps.clamp(max=0) if self.polarity == "counter" else heatmaps

"""Grad-CAM++ on the captured graph."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.cam.activations import GradientActivations


@dataclass(frozen=True)
class GradCamPlusPlus(GradientActivations):
    """Activation maps of one layer, weighted by positive gradients, pixel by pixel.

    The paper takes the exponential of the logit S for its class score, so that the second and
    third derivatives in its weights are powers of the gradient g of S, and

        alpha = g^2 / (2 g^2 + g^3 sum(A)) = 1 / (2 + g sum(A))  where g is not 0.

    The heatmap is the paper's divided by exp(S). That factor is the same for all pixels, overflows
    in single precision, and would make RMSE depend on the logit.

    Source: Chattopadhay et al. 2018, "Grad-CAM++", equations 10 to 19.

    Attributes:
        layer: module path, e.g. ``features.29``, or a fraction of depth from 0 to 1; by default the
            last map with more than one pixel. See `xai_sweep.graphs.maps.find_map`.
    """

    is_signed: ClassVar[bool] = False
    source: ClassVar[str] = "Chattopadhay et al. 2018, arXiv:1710.11063"

    @override
    def combined(
        self, maps: Float[Tensor, "b n i j"], gradients: Float[Tensor, "b k n i j"]
    ) -> Float[Tensor, "b k i j"]:
        maps = maps.unsqueeze(1)
        alpha = 1 / (2 + gradients * maps.sum(dim=(-2, -1), keepdim=True))
        # Where the gradient is not positive, alpha is multiplied by 0 and may be anything.
        weighted = (alpha * gradients).where(gradients > 0, 0)
        weights = weighted.sum(dim=(-2, -1), keepdim=True)
        return (weights * maps).sum(dim=2).clamp(min=0)

"""An explanation method."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.base import Explained, Explainer, pixel_gradients
from xai_sweep.models import Classifier


@dataclass(frozen=True)
class SquaredGradient(Explainer):
    """Sensitivity analysis: the squared gradient of the target's logit, summed over channels.

    Attributes:
        power: to which the result is raised, above 0; 0.5 is the norm of the gradient.
    """

    power: Annotated[float, Gt(0)] = 1.0

    is_signed: ClassVar[bool] = False
    source: ClassVar[str] = "Simonyan, Vedaldi, Zisserman, ICLR workshop 2014; with squares"

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        gradients = pixel_gradients(classifier, images, targets)  # [B, K, C, H, W]
        return Explained(gradients.square().sum(dim=2) ** self.power)

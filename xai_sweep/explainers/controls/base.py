"""What all null explainers have in common."""

from abc import abstractmethod
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.base import Explained, Explainer, Needs
from xai_sweep.models.classifier import Classifier, Normalisation


class Control(Explainer):
    """A heatmap that does not depend on the network and is the same for all targets."""

    is_class_sensitive: ClassVar[bool] = False
    is_control: ClassVar[bool] = True
    needs: ClassVar[Needs] = "answers"
    source: ClassVar[str] = "Adebayo et al. 2018, arXiv:1810.03292"

    @abstractmethod
    def maps(
        self,
        images: Float[Tensor, "b c h w"],
        seeds: Int64[Tensor, " b"] | None,
        space: Normalisation,
    ) -> Float[Tensor, "b h w"]:
        """One map for each image.

        Args:
            images: in normalised space, detached.
            seeds: one per image; None for seed 0.
            space: the normalisation.
        """

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return 0.0

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        maps = self.maps(images.detach(), seeds, classifier.normalisation)
        return Explained(maps[:, None].repeat(1, targets.shape[1], 1, 1))

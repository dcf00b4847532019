"""Occlusion by a sliding window."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import Explained, Explainer, Needs
from xai_sweep.explainers.baselines import Baseline, baseline_like
from xai_sweep.explainers.perturbation.perturbed import perturbed_scores
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class Occlusion(Explainer):
    """How far the target's logit falls when a square of the image is covered.

    The square moves over the image until every pixel has been covered; the last squares may extend
    beyond the image. A pixel gets the mean fall of the squares that cover it, as in captum.

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", 4.2.

    Attributes:
        window: side of the square, in pixels.
        stride: pixels from one square to the next.
        baseline: what covers the image: ``mean`` (zero in the network's normalised space),
            ``black`` or ``white``.
    """

    window: Annotated[int, Ge(1)] = 32
    stride: Annotated[int, Ge(1)] = 16
    baseline: Baseline = "mean"

    needs: ClassVar[Needs] = "answers"
    source: ClassVar[str] = "Zeiler and Fergus 2014, arXiv:1311.2901"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride > self.window:
            allowed = f"must be from 1 to {self.window}, the window's side, to leave no pixel out"
            raise InputError("explainer.stride", self.stride, allowed)

    def squares(self, side: int) -> int:
        """The number of squares along a side of the image, given in pixels."""
        return -(-(side - self.window) // self.stride) + 1

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return 1.0 + self.squares(224) ** 2

    @override
    def prepare(
        self, classifier: Classifier, images: Float[Tensor, "b c h w"]
    ) -> Mapping[str, Any]:
        self._check(images)
        return {}

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        self._check(images)
        height, width = images.shape[-2:]
        cover = baseline_like(images, self.baseline, classifier)
        scores = perturbed_scores(classifier, images, cover, self._masks(images), targets)
        falls = (scores[:, :1] - scores[:, 1:]).transpose(1, 2)
        grid = falls.reshape(*targets.shape, self.squares(height), self.squares(width))
        covers = self._painted(torch.ones_like(grid[:1, :1]), height, width)
        return Explained(self._painted(grid, height, width) / covers)

    def _check(self, images: Tensor) -> None:
        side = min(images.shape[-2:])
        if self.window > side:
            allowed = f"must be at most {side}, the image's smaller side"
            raise InputError("explainer.window", self.window, allowed)

    def _masks(self, images: Tensor) -> Iterator[Bool[Tensor, "1 h w"]]:
        """Nothing covered, then every square, row by row."""
        height, width = images.shape[-2:]
        nothing = torch.zeros(1, height, width, dtype=torch.bool, device=images.device)
        yield nothing
        for row in range(self.squares(height)):
            for column in range(self.squares(width)):
                top, left = row * self.stride, column * self.stride
                covered = nothing.clone()
                covered[:, top : top + self.window, left : left + self.window] = True
                yield covered

    def _painted(self, grid: Tensor, height: int, width: int) -> Tensor:
        """The sum, at every pixel, of the values of the squares that cover it."""
        square = grid.new_ones(1, 1, self.window, self.window)
        sums = F.conv_transpose2d(grid.flatten(0, 1).unsqueeze(1), square, stride=self.stride)
        return sums[:, 0, :height, :width].reshape(*grid.shape[:2], height, width)

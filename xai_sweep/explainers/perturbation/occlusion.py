"""Occlusion by a sliding window."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import Explain, Explainer
from xai_sweep.explainers.baselines import baseline_like, check_baseline
from xai_sweep.explainers.perturbation.perturbed import perturbed_scores
from xai_sweep.models.classifier import Classifier


@dataclass(frozen=True)
class Occlusion(Explainer):
    """How much the target's logit falls when a square of the image is covered.

    The square moves over the image, as far as it takes to cover every pixel; the last ones may
    stick out. A pixel has the mean fall of the squares that cover it, as in captum.

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", 4.2.

    Attributes:
        window: side of the square, in pixels.
        stride: pixels from one square to the next.
        baseline: what covers the image: ``mean`` (zero in the network's normalised space),
            ``black`` or ``white``.
    """

    window: int = 32
    stride: int = 16
    baseline: str = "mean"

    source: ClassVar[str] = "Zeiler and Fergus 2014, arXiv:1311.2901"

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        if self.window < 1:
            raise InputError("explainer.window", self.window, "must be at least 1")
        if not 1 <= self.stride <= self.window:
            allowed = f"must be from 1 to {self.window}, the window's side, to leave no pixel out"
            raise InputError("explainer.stride", self.stride, allowed)

    def squares(self, side: int) -> int:
        """How many squares stand along a side of the image."""
        return -(-(side - self.window) // self.stride) + 1

    def cost_in_forwards(self, targets: int = 1) -> float:
        """See `Explainer.cost_in_forwards`; does not depend on the number of targets."""
        return 1.0 + self.squares(224) ** 2

    def bind(self, classifier: Classifier) -> Explain:
        """See `Explainer.bind`."""

        def explain(
            images: Float[Tensor, "b c h w"],
            targets: Int64[Tensor, "b k"],
            seeds: Int64[Tensor, " b"] | None = None,
        ) -> Float[Tensor, "b k h w"]:
            height, width = images.shape[-2:]
            if self.window > min(height, width):
                allowed = f"must be at most {min(height, width)}, the image's smaller side"
                raise InputError("explainer.window", self.window, allowed)
            cover = baseline_like(images, self.baseline, classifier)
            scores = perturbed_scores(classifier, images, cover, self._masks(images), targets)
            falls = (scores[:, :1] - scores[:, 1:]).transpose(1, 2)
            grid = falls.reshape(*targets.shape, self.squares(height), self.squares(width))
            covers = self._painted(torch.ones_like(grid[:1, :1]), height, width)
            return self._painted(grid, height, width) / covers

        return explain

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

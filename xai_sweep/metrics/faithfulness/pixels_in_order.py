"""What the network says while pixels are removed or brought in, in order of their relevance."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur
from typing_extensions import override

from xai_sweep.metrics.base import Metric, Need
from xai_sweep.models.classifier import Normalisation
from xai_sweep.study.view import View

# Masked copies that the network sees at once. The number is fixed, because the last digits of a
# network's output may depend on it.
AT_ONCE = 16

Baseline = Literal["mean", "black", "blur"]


@dataclass(frozen=True)
class PixelsInOrder(Metric):
    """Area under the probability of the explained class while pixels change sides, best first.

    A pixel is one place of the frame with all of its channels, so there are N = H W of them. After
    step i of n, the ``round(i N / n)`` most relevant pixels have changed. The curve begins before
    the first step and ends when every pixel has changed; its area is that of the trapezoids over
    the fraction of changed pixels, from 0 to 1. The probability is that of
    `Classifier.probabilities`.

    Pixels of equal relevance change in a random order, which derives from the seed and the image
    and is the same for every heatmap of the image. Every pixel of the frame takes part, also those
    that a motion has filled. Undefined for a heatmap that is constant or not finite.

    Attributes:
        steps: n. Each step costs a forward pass for every image and class.
        baseline: what an absent pixel shows: ``mean``, the mean colour of the model's
            normalisation; ``black``; ``blur``, the image blurred by a Gaussian window of 11 x 11
            pixels, sigma 5.
    """

    steps: Annotated[int, Ge(1)] = 32
    baseline: Baseline = "mean"

    needs: ClassVar[frozenset[Need]] = frozenset({Need.MODEL})
    covers: ClassVar[Literal["region", "frame"]] = "frame"

    @abstractmethod
    def ends(
        self, present: Float[Tensor, "b c h w"], absent: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        """The images before the first and after the last step, of pixels present and absent."""

    @override
    def __call__(self, view: View) -> Mapping[str, Float64[Tensor, "b k"]]:
        images = view.counterpart.images
        absent = without_pixels(images, self.baseline, view.subject.classifier.normalisation)
        first, last = self.ends(images, absent)
        cases, ranks = view.targets.shape
        areas = [
            [self._area(view, case, rank, first[case], last[case]) for rank in range(ranks)]
            for case in range(cases)
        ]
        return {self.columns[0].name: view.logits.new_tensor(areas)}

    def _area(
        self,
        view: View,
        case: int,
        rank: int,
        first: Float[Tensor, "c h w"],
        last: Float[Tensor, "c h w"],
    ) -> float:
        heatmap, target = view.explained.heatmaps[case, rank], view.targets[case, rank]
        if not heatmap.isfinite().all() or heatmap.amax() == heatmap.amin():
            return torch.nan
        position = positions(heatmap, view.cases[case].seed("order of equal pixels"))
        fractions = torch.arange(self.steps + 1, dtype=torch.float64, device=heatmap.device)
        changed = (fractions * (heatmap.numel() / self.steps)).round()
        seed = torch.tensor([view.cases[case].seed("network")])
        found = [
            view.subject.predict(
                torch.where(position < some[:, None, None, None], last, first),
                seed.expand(len(some)),
            )
            for some in torch.split(changed, AT_ONCE)
        ]
        probability = torch.cat(found)[:, target]
        return float(torch.trapezoid(probability, changed / heatmap.numel()))


def positions(heatmap: Float[Tensor, "h w"], seed: int) -> Int64[Tensor, "h w"]:
    """Where each pixel stands when the most relevant comes first, from 0.

    Args:
        heatmap: finite.
        seed: decides the order of pixels of equal relevance.
    """
    stream = np.random.Generator(np.random.Philox(seed))
    shuffled = torch.from_numpy(stream.permutation(heatmap.numel())).to(heatmap.device)
    order = shuffled[heatmap.flatten()[shuffled].argsort(descending=True, stable=True)]
    return (
        torch.empty_like(order)
        .scatter_(0, order, torch.arange(len(order)).to(order))
        .view(heatmap.shape)
    )


def without_pixels(
    images: Float[Tensor, "b c h w"], baseline: Baseline, space: Normalisation
) -> Float[Tensor, "b c h w"]:
    """Images none of whose pixels are there, see `PixelsInOrder.baseline`."""
    match baseline:
        case "mean":
            return torch.zeros_like(images)
        case "black":
            black = images.new_zeros(images.shape[1], 1, 1)
            return space.to_normalised(black).expand_as(images)
        case "blur":
            # One by one: convolutions may compute a batch in another way than a single image.
            return torch.cat(
                [gaussian_blur(each, [11, 11], [5.0, 5.0]) for each in torch.split(images, 1)]
            )

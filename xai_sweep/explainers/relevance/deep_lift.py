"""DeepLIFT on the captured graph."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import (
    Explained,
    Explainer,
    Needs,
    differentiable,
    target_gradients,
    target_scores,
)
from xai_sweep.explainers.baselines import (
    BASELINE_FACTS,
    Baseline,
    baseline_facts,
    baseline_like,
)
from xai_sweep.explainers.relevance.multipliers import Multipliers
from xai_sweep.graphs.capture import capture
from xai_sweep.models.classifier import Classifier

# Of the largest logit: more than rounding in single precision in the deepest networks.
_TOLERANCE = 0.01


@dataclass(frozen=True)
class DeepLift(Explainer):
    """Contributions to the difference of the target's logit from that of a baseline.

    Every operation's multipliers are its gradient averaged on the straight line between its inputs
    for the baseline and for the image. For a scalar function that is the rescale rule, for a
    product the even share between its factors, and it also holds for softmax, normalisations and
    attention. At a maximum, a rise is assigned to its pixel and a fall to the baseline's pixel, as
    in captum and DeepSHAP. So the heatmap sums to the logit of the image minus that of the
    baseline; a network in which it does not is refused.

    captum hooks modules, and skips or refuses functional and re-used activations; this works on
    the captured graph, with one forward pass for all K targets.

    Source: Shrikumar, Greenside, Kundaje 2017, "Learning important features through propagating
    activation differences", equations 1 to 5 and section 3.5.2.

    Attributes:
        baseline: ``mean`` (zero in the network's normalised space), ``black`` or ``white``.
    """

    baseline: Baseline = "mean"

    conserves: ClassVar[bool] = True
    facts: ClassVar[tuple[Column, ...]] = BASELINE_FACTS
    needs: ClassVar[Needs] = "graph"
    source: ClassVar[str] = "Shrikumar et al. 2017, arXiv:1704.02685"

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        return 2.0 + targets  # the image's pass and the baseline's

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        captured = capture(classifier, images)
        reference = baseline_like(images[:1], self.baseline, classifier)
        with differentiable(images) as pixels:
            run = Multipliers(captured, reference, len(images))
            logits = run.run(pixels)
            multipliers = target_gradients(logits, pixels, targets)
            starts = run.reference_logits.expand_as(logits)
        heatmaps = ((images.detach() - reference).unsqueeze(1) * multipliers).sum(dim=2)
        ends = target_scores(logits, targets).detach(), target_scores(starts, targets)
        _check(heatmaps, *ends)
        return Explained(heatmaps, baseline_facts(heatmaps, *ends))


def _check(
    heatmaps: Float[Tensor, "b k h w"], logits: Float[Tensor, "b k"], starts: Float[Tensor, "b k"]
) -> None:
    """Refuse a network in which contributions are lost or made.

    Raises:
        InputError: the heatmaps do not sum to the differences of the logits.
    """
    missing = (heatmaps.sum(dim=(2, 3)) - (logits - starts)).abs()
    largest = torch.maximum(logits.abs(), starts.abs())
    share = (missing / largest).nan_to_num(0).amax()
    if share > _TOLERANCE:
        raise InputError(
            "explainer",
            "deep_lift",
            "cannot explain this network: its contributions do not sum to the difference of the "
            f"logits, {float(share):.0%} of the logit is missing; integrated_gradients explains it",
        )

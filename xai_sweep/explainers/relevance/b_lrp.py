"""Layer-wise relevance propagation for a network whose weights are not certain."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.core.hashing import file_sha256
from xai_sweep.core.seeds import dice_for
from xai_sweep.explainers.base import Explainer
from xai_sweep.explainers.relevance.engine import (
    DEFAULT_RULES,
    Dropout,
    Plan,
    Propagation,
    linear_dropouts,
    own_dropouts,
    with_masks,
)
from xai_sweep.explainers.relevance.lrp import LRP, BoundLRP
from xai_sweep.models.classifier import Classifier
from xai_sweep.models.weights import existing, put_weights, read_weights

POSTERIORS = ("dropout", "added_dropout", "ensemble")
PERCENTS = (5.0, 25.0, 50.0, 75.0, 95.0)
_MEMBERS = "explainer.members"


@dataclass(frozen=True)
class BLRP(Explainer):
    """A percentile, pixel by pixel, of LRP's heatmaps over draws from a posterior of the weights.

    A low percentile shows what nearly all draws find relevant, a high one what some of them do.
    `BoundBLRP.percentiles` gives several of the same draws. Without seeds every image takes seed 0.

    Source: Bykov et al. 2020, "How much can I trust you? Quantifying uncertainties in explaining
    neural networks", whose heatmaps are percentiles of such a distribution.

    Attributes:
        posterior: ``dropout``, the network's own dropout layers, left on (Gal and Ghahramani
            2016); ``added_dropout``, dropout in front of every linear layer, for networks that
            have none: how far draws lie apart then follows from ``rate`` and not from training;
            ``ensemble``, networks that were trained independently (Lakshminarayanan et al. 2017).
        percentile: from 0 to 100, of the heatmap; 50 is the median.
        draws: for dropout, how many; an ensemble has one per member. Masks are those of each
            image, whatever else is in its batch.
        rate: for ``added_dropout``, the probability of a neuron to be silent.
        members: for ``ensemble``, files of weights for this network, at least two. They are all
            held in memory. The network's own weights predict; they are a member only if they are
            in the list.
        rules, batchnorm, batchnorm_epsilon, layer, unsupported: see `LRP`.
    """

    posterior: str = "dropout"
    percentile: float = 50.0
    draws: int = 50
    rate: float = 0.2
    members: Any = None
    rules: Any = DEFAULT_RULES
    batchnorm: str = "fuse"
    batchnorm_epsilon: float = 1e-6
    layer: str | None = None
    unsupported: str = "error"

    is_deterministic: ClassVar[bool] = False
    source: ClassVar[str] = "Bykov et al. 2020, arXiv:2006.09000"

    def __post_init__(self) -> None:
        if self.posterior not in POSTERIORS:
            allowed = f"must be one of {', '.join(POSTERIORS)}"
            raise InputError("explainer.posterior", self.posterior, allowed)
        if not 0 <= self.percentile <= 100:
            raise InputError("explainer.percentile", self.percentile, "must be from 0 to 100")
        if self.draws < 2:
            raise InputError("explainer.draws", self.draws, "must be at least 2")
        if not 0 <= self.rate < 1:
            raise InputError("explainer.rate", self.rate, "must be at least 0 and less than 1")
        object.__setattr__(self, "members", self._files())
        self.lrp()
        # An ensemble draws nothing, so there is no second draw to compare with.
        object.__setattr__(self, "is_deterministic", self.posterior == "ensemble")

    def lrp(self) -> LRP:
        """What explains every draw."""
        return LRP(self.rules, self.batchnorm, self.batchnorm_epsilon, self.layer, self.unsupported)

    def identity(self) -> dict[str, str]:
        """See `Explainer.identity`."""
        return {
            f"{_MEMBERS}.{number}": f"sha256:{file_sha256(existing(path, _MEMBERS))}"
            for number, path in enumerate(self.members or ())
        }

    def cost_in_forwards(self, targets: int = 1) -> float:
        """See `Explainer.cost_in_forwards`."""
        draws = self.draws if self.members is None else len(self.members)
        return float(draws * (1 + targets))

    def bind(self, classifier: Classifier) -> "BoundBLRP":
        """See `Explainer.bind`.

        Raises:
            InputError: a file of an ensemble is not there, or does not fit the network.
        """
        return BoundBLRP(self, [self.lrp().bind(each) for each in self._networks(classifier)])

    def _files(self) -> tuple[str, ...] | None:
        """The members' files, checked."""
        if self.posterior != "ensemble":
            if self.members:
                allowed = f"is for explainer.posterior=ensemble, not for {self.posterior}"
                raise InputError(_MEMBERS, self.members, allowed)
            return None
        is_list = isinstance(self.members, Sequence) and not isinstance(self.members, str)
        if not is_list or len(self.members) < 2:
            allowed = "must be a list of at least two files of weights, [first.pt,second.pt]"
            raise InputError(_MEMBERS, self.members, allowed)
        return tuple(str(path) for path in self.members)

    def _networks(self, classifier: Classifier) -> Iterator[Classifier]:
        if self.members is None:
            yield classifier
            return
        for path in self.members:
            state = read_weights(path, _MEMBERS)
            with torch.inference_mode(False):
                module = copy.deepcopy(classifier.module)
                put_weights(module, state, path, _MEMBERS)
            yield replace(classifier, module=module)


class BoundBLRP:
    """B-LRP for one classifier.

    Args:
        explainer: with its parameters.
        networks: LRP of the network, or of every member of an ensemble.
    """

    def __init__(self, explainer: BLRP, networks: Sequence[BoundLRP]) -> None:
        self.explainer = explainer
        self.networks = networks

    def draws(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
    ) -> Iterator[Float[Tensor, "b k h w"]]:
        """LRP's heatmaps, draw by draw.

        Raises:
            InputError: there is no dropout to draw; or a target that is not a class.
        """
        if self.explainer.posterior == "ensemble":
            for member in self.networks:
                yield member(images, targets)
            return
        (network,) = self.networks
        plan = network.propagation(images).plan
        places, dice = self._places(plan), dice_for(seeds, len(images))
        for _ in range(self.explainer.draws):
            masks = {each.step: each.mask(dice.uniform(each.shape)).to(images) for each in places}
            drawn = Propagation(with_masks(plan, masks))
            found = network.relevance(images, targets, propagation=drawn)
            yield network.heatmaps(found, images)

    def percentiles(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        percents: Sequence[float] = PERCENTS,
    ) -> Float[Tensor, "p b k h w"]:
        """Several percentile maps of the same draws; all draws are held in memory.

        Args:
            images: see `Explain`, as for the next two.
            targets: K classes of each image.
            seeds: one per image.
            percents: from 0 to 100.

        Raises:
            InputError: see `draws`.
        """
        return percentile_maps(torch.stack(list(self.draws(images, targets, seeds))), percents)

    def __call__(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b k h w"]:
        """See `Explain`."""
        return self.percentiles(images, targets, seeds, [self.explainer.percentile])[0]

    def accounted(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
    ) -> tuple[Float[Tensor, "b k h w"], Mapping[str, Float64[Tensor, "b k"]]]:
        """Heatmaps; no percentile of what conserves does so itself, so there are no columns."""
        return self(images, targets, seeds), {}

    def notes(self, images: Float[Tensor, "b c h w"]) -> dict[str, Any]:
        """See `BoundLRP.notes`; and the rate of every layer that drops.

        Raises:
            InputError: there is no dropout to draw.
        """
        notes = [network.notes(images) for network in self.networks]
        plan = self.networks[0].propagation(images).plan
        return {
            "logit_difference": max(each["logit_difference"] for each in notes),
            "unsupported": notes[0]["unsupported"],
            "dropout": {each.path: each.rate for each in self._places(plan)},
        }

    def _places(self, plan: Plan) -> list[Dropout]:
        posterior = self.explainer.posterior
        if posterior == "ensemble":
            return []
        if posterior == "added_dropout":
            places, missing = linear_dropouts(plan, self.explainer.rate), "linear layer"
        else:
            places, missing = own_dropouts(plan), "dropout layer with a rate above 0"
        if not places:
            others = " or ".join(other for other in POSTERIORS if other != posterior)
            allowed = f"this network has no {missing}; must be {others}"
            raise InputError("explainer.posterior", posterior, allowed)
        return places


def percentile_maps(
    draws: Float[Tensor, "n ..."], percents: Sequence[float]
) -> Float[Tensor, "p ..."]:
    """Percentiles over the first axis, between draws by linear interpolation, as numpy has them.

    Not `torch.quantile`, which refuses more than 16 million values.

    Args:
        draws: N of them.
        percents: P of them, from 0 to 100.

    Returns:
        ``[P, ...]``; NaN where any draw is.
    """
    ordered = draws.sort(dim=0).values
    found = []
    for percent in percents:
        at = percent / 100 * (len(draws) - 1)
        low = int(at)
        high = min(low + 1, len(draws) - 1)
        found.append(torch.lerp(ordered[low], ordered[high], at - low))
    # Sorting puts NaN last.
    return torch.stack(found).where(~ordered[-1].isnan(), torch.nan)

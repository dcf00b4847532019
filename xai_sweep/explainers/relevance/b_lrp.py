"""Layer-wise relevance propagation for a network with uncertain weights."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, get_args

import torch
from annotated_types import Ge, Gt, Interval
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.core.hashing import file_sha256
from xai_sweep.core.seeds import streams_for
from xai_sweep.explainers.base import Explained, Explainer, Needs
from xai_sweep.explainers.memory import Memory
from xai_sweep.explainers.relevance.engine import (
    DEFAULT_RULES,
    Dropout,
    Plan,
    Propagation,
    linear_dropouts,
    own_dropouts,
    with_masks,
)
from xai_sweep.explainers.relevance.lrp import LRP, BatchNorm, Unsupported, at_image_size
from xai_sweep.graphs.capture import capture
from xai_sweep.graphs.maps import LayerName
from xai_sweep.models.classifier import Classifier
from xai_sweep.models.weights import existing, put_weights, read_weights

Posterior = Literal["dropout", "added_dropout", "ensemble"]
PERCENTS = (5.0, 25.0, 50.0, 75.0, 95.0)
_MEMBERS = "explainer.members"


@dataclass(frozen=True)
class BLRP(Explainer):
    """A percentile, pixel by pixel, of LRP's heatmaps over draws from a posterior of the weights.

    A low percentile shows what nearly all draws find relevant, a high one what some of them do.
    `percentiles` gives several of the same draws. LRP conserves relevance in every draw, but a
    percentile of its heatmaps does not, so there are no accounts.

    Source: Bykov et al. 2020, "How much can I trust you? Quantifying uncertainties in explaining
    neural networks", whose heatmaps are percentiles of such a distribution.

    Attributes:
        posterior: ``dropout``, the network's own dropout layers, left active (Gal and Ghahramani
            2016); ``added_dropout``, dropout in front of every linear layer, for networks that
            have none: the spread of the draws then follows from ``rate`` and not from training;
            ``ensemble``, networks that were trained independently (Lakshminarayanan et al. 2017).
        percentile: from 0 to 100, of the heatmap; 50 is the median.
        draws: for dropout, how many; an ensemble has one per member. An image's masks do not depend
            on the other images of its batch.
        rate: for ``added_dropout``, the probability that a neuron is silent.
        members: for ``ensemble``, files of weights for this network, at least two. They are all
            held in memory. The network's own weights predict; they are a member only if they are
            in the list.
        rules, batchnorm, batchnorm_epsilon, layer, unsupported: see `LRP`.
    """

    posterior: Posterior = "dropout"
    percentile: Annotated[float, Interval(ge=0, le=100)] = 50.0
    draws: Annotated[int, Ge(2)] = 50
    rate: Annotated[float, Interval(ge=0, lt=1)] = 0.2
    members: Sequence[str] | None = None
    rules: Any = DEFAULT_RULES
    batchnorm: BatchNorm = "fuse"
    batchnorm_epsilon: Annotated[float, Gt(0)] = 1e-6
    layer: LayerName = None
    unsupported: Unsupported = "error"
    _lrp: LRP = field(init=False, repr=False, compare=False)
    _memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)

    is_deterministic: ClassVar[bool] = False
    needs: ClassVar[Needs] = "graph"
    source: ClassVar[str] = "Bykov et al. 2020, arXiv:2006.09000"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "members", self._files())
        given = self.rules, self.batchnorm, self.batchnorm_epsilon, self.layer, self.unsupported
        object.__setattr__(self, "_lrp", LRP(*given))
        # The members of an ensemble are given, so nothing is random.
        object.__setattr__(self, "is_deterministic", self.posterior == "ensemble")

    @override
    def identity(self) -> dict[str, str]:
        return {
            f"{_MEMBERS}.{number}": f"sha256:{file_sha256(existing(path, _MEMBERS))}"
            for number, path in enumerate(self.members or ())
        }

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        draws = self.draws if self.members is None else len(self.members)
        return float(draws * (1 + targets))

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        maps = self.percentiles(classifier, images, targets, seeds, [self.percentile])
        return Explained(maps[0])

    @override
    def prepare(
        self, classifier: Classifier, images: Float[Tensor, "b c h w"]
    ) -> Mapping[str, Any]:
        """Do what `LRP.prepare` does for every network, and look for the dropout.

        Returns:
            As `LRP.prepare`, and ``dropout``, the rate of every layer that drops, by its path.

        Raises:
            InputError: there is no dropout to draw, or a member's file does not fit the network.
        """
        networks = self._networks(classifier, images)
        findings = [self._lrp.prepare(network, images) for network in networks]
        plan = self._lrp.propagation(networks[0], images).plan
        return {
            "logit_difference": max(each["logit_difference"] for each in findings),
            "unsupported": findings[0]["unsupported"],
            "dropout": {each.path: each.rate for each in self._dropouts(plan)},
        }

    def percentiles(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        percents: Sequence[float] = PERCENTS,
    ) -> Float[Tensor, "p b k h w"]:
        """Several percentile maps of the same draws; all draws are held in memory.

        Args:
            classifier: the network.
            images: ``[B, C, H, W]`` in normalised space.
            targets: K classes of each image.
            seeds: one per image.
            percents: from 0 to 100.

        Raises:
            InputError: see `heatmaps`.
        """
        drawn = torch.stack(list(self.heatmaps(classifier, images, targets, seeds)))
        return percentile_maps(drawn, percents)

    def heatmaps(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
    ) -> Iterator[Float[Tensor, "b k h w"]]:
        """LRP's heatmaps ``[B, K, H, W]``, draw by draw; see `explain` for the arguments.

        Raises:
            InputError: there is no dropout to draw, or a target is not a class.
        """
        networks = self._networks(classifier, images)
        if self.posterior == "ensemble":
            for network in networks:
                yield at_image_size(self._lrp.relevance(network, images, targets), images)
            return
        plan = self._lrp.propagation(classifier, images).plan
        dropouts, streams = self._dropouts(plan), streams_for(seeds, len(images))
        for _ in range(self.draws):
            masks = {
                each.step: each.mask(streams.uniform(each.shape)).to(images) for each in dropouts
            }
            drawn = Propagation(with_masks(plan, masks))
            found = self._lrp.relevance(classifier, images, targets, propagation=drawn)
            yield at_image_size(found, images)

    def _files(self) -> tuple[str, ...] | None:
        """The members' files, checked."""
        if self.posterior != "ensemble":
            if self.members:
                allowed = f"is for explainer.posterior=ensemble, not for {self.posterior}"
                raise InputError(_MEMBERS, self.members, allowed)
            return None
        if self.members is None or len(self.members) < 2:
            allowed = "must be a list of at least two files of weights, [first.pt,second.pt]"
            raise InputError(_MEMBERS, self.members, allowed)
        return tuple(self.members)

    def _networks(self, classifier: Classifier, images: Tensor) -> list[Classifier]:
        """The network, or every member of the ensemble; their files are read once."""
        files = self.members
        if files is None:
            return [classifier]
        made = self._memory.recall(
            capture(classifier, images),
            "members",
            lambda: [_member(classifier, path) for path in files],
        )
        return made

    def _dropouts(self, plan: Plan) -> list[Dropout]:
        if self.posterior == "ensemble":
            return []
        if self.posterior == "added_dropout":
            found, missing = linear_dropouts(plan, self.rate), "linear layer"
        else:
            found, missing = own_dropouts(plan), "dropout layer with a rate above 0"
        if not found:
            others = " or ".join(each for each in get_args(Posterior) if each != self.posterior)
            allowed = f"this network has no {missing}; must be {others}"
            raise InputError("explainer.posterior", self.posterior, allowed)
        return found


def _member(classifier: Classifier, path: str) -> Classifier:
    """A copy of the classifier with the weights of a file."""
    content = read_weights(path, _MEMBERS)
    with torch.inference_mode(False):
        module = copy.deepcopy(classifier.module)
        put_weights(module, content, choice="")
    return replace(classifier, module=module)


def percentile_maps(
    draws: Float[Tensor, "n ..."], percents: Sequence[float]
) -> Float[Tensor, "p ..."]:
    """Percentiles over the first axis, linearly interpolated between draws, as in numpy.

    `torch.quantile` refuses more than 16 million values.

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

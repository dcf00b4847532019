"""Layer-wise relevance propagation on the captured graph."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import EXECUTION_ONLY
from xai_sweep.explainers.base import RELEVANCE_RATIO, Explained, Explainer, Needs
from xai_sweep.explainers.memory import Memory
from xai_sweep.explainers.relevance.accounts import check_accounts
from xai_sweep.explainers.relevance.engine import (
    DEFAULT_RULES,
    AbsZ,
    Compiled,
    Composite,
    Epsilon,
    Pass,
    Propagation,
    Relevance,
    Rule,
    entries,
    make_plan,
)
from xai_sweep.graphs.capture import Captured, capture
from xai_sweep.graphs.maps import LayerName, Map, find_map
from xai_sweep.models.classifier import Classifier, Normalisation, check_targets, evaluating

BatchNorm: TypeAlias = Literal["fuse", "abs_z", "epsilon", "identity"]
# Rounding is some 1e-6 of the largest logit, 1e-4 in deep networks.
_SAME_LOGITS = 1e-2

Unsupported: TypeAlias = Literal["error", "gradient"]

BIAS_SHARE = Column(
    "bias_share",
    "Part of that logit which biases and constants absorbed.",
    null="the method does not account for biases",
)
STABILIZER_SHARE = Column(
    "stabilizer_share",
    "Part of that logit which stabilisers took, which had nowhere to go, or which went round the "
    "layer that is explained. It adds up to 1 with `relevance_ratio` and `bias_share`.",
    null="the method has no stabilisers",
)


@dataclass(frozen=True)
class LRP(Explainer):
    """Relevance of every pixel, propagated from the target's logit layer by layer.

    Attributes:
        rules: which rule applies where: a list of mappings of which the first that matches wins;
            `xai_sweep.config.presets.preset` reads those of ``conf/explainer/rules``.
        batchnorm: ``fuse``, into the convolution or linear layer before it, or behind it where
            that is exact, and otherwise a layer that the rules decide on; ``abs_z``, relevance
            between input and bias by absolute values (Hui and Binder 2019); ``epsilon``, the
            epsilon rule; ``identity``, passed on unchanged.
        batchnorm_epsilon: for ``batchnorm=epsilon``.
        layer: where to stop, a module path or a fraction of depth, see `find_map`; its map, summed
            over channels, is enlarged to the image's size. Relevance of class tokens counts as
            lost. None for the pixels.
        unsupported: what happens at an operation without a rule: ``error``, or ``gradient``,
            which treats it as input times gradient.
        compile: None, or the number of images at once for which the propagation is compiled
            (`torch.compile`). Compiling takes half a minute and a C++ compiler, and pays for many
            images of a residual network. The numbers are the same up to rounding.

    Source: Bach et al. 2015, doi:10.1371/journal.pone.0130140; the rules:
    `xai_sweep.explainers.relevance.engine.rules`.
    """

    rules: Any = DEFAULT_RULES
    batchnorm: BatchNorm = "fuse"
    batchnorm_epsilon: Annotated[float, Gt(0)] = 1e-6
    layer: LayerName = None
    unsupported: Unsupported = "error"
    compile: Annotated[Annotated[int, Ge(1)] | None, EXECUTION_ONLY] = None
    _memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)

    conserves: ClassVar[bool] = True
    facts: ClassVar[tuple[Column, ...]] = (RELEVANCE_RATIO, BIAS_SHARE, STABILIZER_SHARE)
    needs: ClassVar[Needs] = "graph"
    source: ClassVar[str] = "Bach et al. 2015, doi:10.1371/journal.pone.0130140"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.composite()

    @override
    def explain(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        found = self.relevance(classifier, images, targets, accounts=True)
        assert found.absorbed is not None
        assert found.lost is not None
        self._memory.recall(
            capture(classifier, images),
            "accounts",
            lambda: check_accounts(found, classifier, partial(self._exactly, images, targets)),
        )
        logits = found.logits.double()
        return Explained(
            at_image_size(found, images),
            {
                "relevance_ratio": found.maps.double().flatten(2).sum(dim=2) / logits,
                "bias_share": found.absorbed / logits,
                "stabilizer_share": found.lost / logits,
            },
        )

    @override
    def prepare(
        self, classifier: Classifier, images: Float[Tensor, "b c h w"]
    ) -> Mapping[str, Any]:
        """Make the plan for these images, and compare the fused network with the original.

        Returns:
            ``logit_difference``, the largest difference to the network's own logits after fusing,
            relative to the largest logit; ``unsupported``, operations passed by their gradient.

        Raises:
            InputError: that difference is more than rounding; or see `propagation`.
        """
        propagation = self.propagation(classifier, images)
        with torch.no_grad(), evaluating(classifier.module):
            own = classifier.module(images)
        largest = own.abs().amax().clamp(min=torch.finfo(own.dtype).tiny)
        difference = float((propagation.logits(images) - own).abs().amax() / largest)
        if difference > _SAME_LOGITS:
            allowed = (
                f"computes logits from the graph of {type(classifier.module).__name__} that differ "
                f"from the network's own by {difference:.1%} of the largest; take another explainer"
            )
            raise InputError("explainer", "lrp", allowed)
        return {
            "logit_difference": difference,
            "unsupported": propagation.plan.unsupported,
        }

    def _exactly(
        self, images: Tensor, targets: Tensor, classifier: Classifier, kind: torch.dtype
    ) -> Relevance:
        return self.relevance(classifier, images.to(kind), targets, accounts=True)

    def propagation(self, classifier: Classifier, images: Float[Tensor, "b c h w"]) -> Propagation:
        """The plan of a network for images of this shape; made once.

        Raises:
            InputError: an operation or a layer has no rule, or a rule names nothing in the network.
        """
        captured = capture(classifier, images)

        def make() -> Propagation:
            found = self._map(captured)
            stop = None if found is None else found.node
            bounds = _bounds(classifier.normalisation, images)
            return Propagation(make_plan(captured, self.composite(), bounds, stop))

        return self._memory.recall(captured, "propagation", make)

    def relevance(
        self,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        accounts: bool = False,
        propagation: Propagation | None = None,
    ) -> Relevance:
        """Relevance with its channels, ``maps [B, K, C, H, W]``; see `Propagation`.

        Args:
            classifier: the network.
            images: ``[B, C, H, W]`` in normalised space.
            targets: K classes of each image.
            accounts: whether to account for relevance that did not arrive.
            propagation: a changed plan of this network; None for its own.

        Raises:
            InputError: a target that is not a class of the network; or see `propagation`.
        """
        planned = propagation or self.propagation(classifier, images)
        check_targets(targets, planned.plan.classes)
        layout = torch.contiguous_format
        if images.dtype != torch.float64:
            layout = torch.channels_last
        pixels = images.detach().contiguous(memory_format=layout)
        batch = self.compile
        captured = capture(classifier, images)
        if batch is None or propagation is not None:
            return _without_tokens(planned(pixels, targets, accounts), self._map(captured))
        compiled = self._memory.recall(
            captured,
            ("compiled", accounts),
            lambda: Compiled(planned, batch, accounts),
        )
        return _without_tokens(compiled(pixels, targets), self._map(captured))

    def _map(self, captured: Captured) -> Map | None:
        """Where relevance stops; None for the pixels."""
        if self.layer is None:
            return None
        found = find_map(captured, self.layer)
        if found.layout.batch:
            allowed = "must be a module whose output has the images along its first axis"
            raise InputError("explainer.layer", self.layer, allowed)
        return found

    def composite(self) -> Composite:
        """The parameters as the engine takes them, checked."""
        handled: Mapping[BatchNorm, Literal["fuse"] | Rule] = {
            "fuse": "fuse",
            "abs_z": AbsZ(),
            "epsilon": Epsilon(self.batchnorm_epsilon),
            "identity": Pass(),
        }
        return Composite(entries(self.rules), handled[self.batchnorm], self.unsupported)


def at_image_size(found: Relevance, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
    """Relevance with its channels summed, at the images' size."""
    heatmaps = found.maps.sum(dim=2)
    if heatmaps.shape[-2:] == images.shape[-2:]:
        return heatmaps.contiguous()
    size = (images.shape[-2], images.shape[-1])
    return F.interpolate(heatmaps, size=size, mode="bilinear", align_corners=False)


def _without_tokens(found: Relevance, at: Map | None) -> Relevance:
    """Relevance of an inner layer as maps; what its class tokens have received counts as lost."""
    if at is None:
        return found
    count = len(found.maps)
    maps = torch.stack([at.layout.maps(each, count) for each in found.maps.unbind(1)], dim=1)
    if found.lost is None or not at.layout.others:
        return replace(found, maps=maps)
    left_out = found.maps.double().flatten(2).sum(dim=2) - maps.double().flatten(2).sum(dim=2)
    return replace(found, maps=maps, lost=found.lost + left_out)


def _bounds(space: Normalisation, images: Tensor) -> tuple[Tensor, Tensor]:
    """Black and white, as the network sees them."""
    black = images.new_zeros(len(space.mean), 1, 1)
    return space.to_normalised(black).flatten(), space.to_normalised(black + 1).flatten()

"""Layer-wise relevance propagation on the captured graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.base import Explainer
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
from xai_sweep.models.classifier import Classifier, check_targets, evaluating

BATCHNORMS = ("fuse", "abs_z", "epsilon", "identity")
UNSUPPORTED = ("error", "gradient")


@dataclass(frozen=True)
class LRP(Explainer):
    """Relevance of every pixel, propagated from the target's logit layer by layer.

    Attributes:
        rules: which rule applies where: a list of mappings, the first that matches wins;
            `xai_sweep.config.presets.preset` reads those of ``conf/explainer/rules``.
        batchnorm: ``fuse``, into the convolution or linear layer before it, or behind it where
            that is exact, and otherwise a layer that the rules decide on; ``abs_z``, relevance
            between input and bias by absolute values (Hui and Binder 2019); ``epsilon``, the
            epsilon rule; ``identity``, handed on as it is.
        batchnorm_epsilon: for ``batchnorm=epsilon``.
        layer: module path at which to stop; its map, summed over channels, is enlarged to the
            image's size. None for the pixels.
        unsupported: what happens at an operation without a rule: ``error``, or ``gradient``,
            which counts it as input times gradient.
        compile: None, or the number of images at once for which the propagation is compiled
            (`torch.compile`); takes half a minute and a C++ compiler, and pays for many images
            of a residual network. No other numbers but for rounding.

    Source: Bach et al. 2015, doi:10.1371/journal.pone.0130140; the rules:
    `xai_sweep.explainers.relevance.engine.rules`.
    """

    rules: Any = DEFAULT_RULES
    batchnorm: str = "fuse"
    batchnorm_epsilon: float = 1e-6
    layer: str | None = None
    unsupported: str = "error"
    compile: int | None = None

    conserves: ClassVar[bool] = True
    source: ClassVar[str] = "Bach et al. 2015, doi:10.1371/journal.pone.0130140"

    def __post_init__(self) -> None:
        for key, allowed in (("batchnorm", BATCHNORMS), ("unsupported", UNSUPPORTED)):
            if getattr(self, key) not in allowed:
                options = f"must be one of {', '.join(allowed)}"
                raise InputError(f"explainer.{key}", getattr(self, key), options)
        if not self.batchnorm_epsilon > 0:
            key = "explainer.batchnorm_epsilon"
            raise InputError(key, self.batchnorm_epsilon, "must be above 0")
        if self.compile is not None and self.compile < 1:
            raise InputError("explainer.compile", self.compile, "must be at least 1, or null")
        self.composite()

    def composite(self) -> Composite:
        """The parameters, checked."""
        handled: Mapping[str, str | Rule] = {
            "fuse": "fuse",
            "abs_z": AbsZ(),
            "epsilon": Epsilon(self.batchnorm_epsilon),
            "identity": Pass(),
        }
        return Composite(entries(self.rules), handled[self.batchnorm], self.unsupported)

    def bind(self, classifier: Classifier) -> "BoundLRP":
        """See `Explainer.bind`."""
        return BoundLRP(self, classifier)


class BoundLRP:
    """LRP for one classifier; the plan of its network is made at the first image."""

    def __init__(self, explainer: LRP, classifier: Classifier) -> None:
        self.explainer = explainer
        self.classifier = classifier
        self._made: WeakKeyDictionary[Captured, Propagation] = WeakKeyDictionary()
        self._compiled: dict[tuple[Propagation, bool], Compiled] = {}

    def propagation(self, images: Float[Tensor, "b c h w"]) -> Propagation:
        """The plan for images of this shape."""
        captured = capture(self.classifier, images)
        if captured not in self._made:
            layer = self.explainer.layer
            stop = None if layer is None else captured.last_spatial(layer)
            plan = make_plan(captured, self.explainer.composite(), self._bounds(images), stop)
            self._made[captured] = Propagation(plan)
        return self._made[captured]

    def relevance(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        accounts: bool = False,
        propagation: Propagation | None = None,
    ) -> Relevance:
        """Relevance with its channels, ``maps [B, K, C, H, W]``; see `Propagation`.

        Args:
            images: see `Explain`.
            targets: K classes of each image.
            accounts: whether to say where relevance went that did not arrive.
            propagation: a changed plan of this network; None for its own.

        Raises:
            InputError: a target that is not a class of the network.
        """
        propagation = propagation or self.propagation(images)
        check_targets(targets, propagation.plan.classes)
        layout = torch.contiguous_format
        if images.dtype != torch.float64:
            layout = torch.channels_last
        pixels = images.detach().contiguous(memory_format=layout)
        if self.explainer.compile is None:
            return propagation(pixels, targets, accounts)
        key = propagation, accounts
        if key not in self._compiled:
            self._compiled[key] = Compiled(propagation, self.explainer.compile, accounts)
        return self._compiled[key](pixels, targets)

    def notes(self, images: Float[Tensor, "b c h w"]) -> dict[str, Any]:
        """What is worth writing down, from images of the shape that will be explained.

        Returns:
            ``logit_difference``, the largest difference to the network's own logits after fusing,
            relative to the largest logit; ``unsupported``, operations passed by their gradient.
        """
        propagation = self.propagation(images)
        with torch.no_grad(), evaluating(self.classifier.module):
            own = self.classifier.module(images)
        difference = (propagation.logits(images) - own).abs().amax() / own.abs().amax()
        return {
            "logit_difference": float(difference),
            "unsupported": propagation.plan.unsupported,
        }

    def __call__(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b k h w"]:
        """See `Explain`."""
        return self.heatmaps(self.relevance(images, targets), images)

    def accounted(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
    ) -> tuple[Float[Tensor, "b k h w"], dict[str, Float64[Tensor, "b k"]]]:
        """Heatmaps, and where the logit's relevance went, as parts of it that sum to 1.

        Returns:
            The heatmaps, and ``relevance_ratio`` (arrived), ``bias_share`` (absorbed by biases),
            ``stabilizer_share`` (lost to stabilisers and empty denominators).
        """
        found = self.relevance(images, targets, accounts=True)
        assert found.absorbed is not None
        assert found.lost is not None
        logits = found.logits.double()
        return self.heatmaps(found, images), {
            "relevance_ratio": found.maps.double().flatten(2).sum(dim=2) / logits,
            "bias_share": found.absorbed / logits,
            "stabilizer_share": found.lost / logits,
        }

    def heatmaps(
        self, found: Relevance, images: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b k h w"]:
        """Relevance with its channels summed, at the images' size."""
        heatmaps = found.maps.sum(dim=2)
        if heatmaps.shape[-2:] == images.shape[-2:]:
            return heatmaps.contiguous()
        size = (images.shape[-2], images.shape[-1])
        return F.interpolate(heatmaps, size=size, mode="bilinear", align_corners=False)

    def _bounds(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Black and white, as the network sees them."""
        space = self.classifier.normalisation
        black = images.new_zeros(len(space.mean), 1, 1)
        return space.to_normalised(black).flatten(), space.to_normalised(black + 1).flatten()

"""Rate-distortion explanations: the fewest pixels that, amid noise, keep the output."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import RandomStreams, streams_for
from xai_sweep.explainers.base import Explained, Explainer, target_scores
from xai_sweep.explainers.perturbation.perturbed import AT_ONCE
from xai_sweep.models.classifier import Classifier, evaluating

# Images of nothing but noise, forward only and once for all targets: the unit of distortion.
_OF_NOISE = 16


@dataclass(frozen=True)
class RDE(Explainer):
    """A mask over the pixels that keeps the target's output while the rest of the image is noise.

    For each image and target a mask ``s`` in [0, 1], shared by the channels, minimises

        D(s) / D(0) + sparsity mean(s),   D(s) = E_n (f(x) - f(s x + (1 - s) n))^2

    so that an empty mask costs 1 and a full one ``sparsity``, whatever the network, its outputs and
    the size of the image. The mask is the heatmap.

    D is estimated with new noise in every step, and Adam follows its gradient from the full mask,
    for any differentiable network, as in Kolek et al. 2021, "A rate-distortion framework for
    explaining black-box model decisions", arXiv:2110.08252. Blocks, units and defaults are this
    package's.

    Source: Macdonald et al. 2019, "A rate-distortion framework for explaining neural network
    decisions".

    Attributes:
        sparsity: cost of the whole image, in units of the distortion by noise alone.
        block: side of the squares that share a value of the mask, in pixels. 1 gives a mask of
            single pixels; many such masks are equally good, so that after few steps the result is
            mostly chance.
        steps: of the optimisation.
        samples: noisy images per step.
        step_size: about how far a value of the mask moves in a step.
        noise: ``gaussian``, with the mean and standard deviation of the network's training set,
            as given by its normalisation; ``uniform`` between black and white.
        output: f, ``logit`` or ``probability``.
    """

    sparsity: Annotated[float, Gt(0)] = 1.0
    block: Annotated[int, Ge(1)] = 8
    steps: Annotated[int, Ge(1)] = 100
    samples: Annotated[int, Ge(1)] = 2
    step_size: Annotated[float, Gt(0)] = 0.1
    noise: Literal["gaussian", "uniform"] = "gaussian"
    output: Literal["logit", "probability"] = "logit"

    is_deterministic: ClassVar[bool] = False
    is_signed: ClassVar[bool] = False
    source: ClassVar[str] = "Macdonald et al. 2019, arXiv:1905.11092"

    @override
    def cost_in_forwards(self, targets: int = 1) -> float:
        # Every noisy image passes forward and back for each target.
        return float(1 + _OF_NOISE + 2 * self.steps * self.samples * targets)

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
        with evaluating(classifier.module), torch.inference_mode(False), torch.no_grad():
            distortion = Distortion(
                self,
                classifier,
                images.clone().detach(),
                targets.clone(),
                streams_for(seeds, len(images)),
            )
            return Explained(self._mask(distortion, targets.shape))

    def _check(self, images: Tensor) -> None:
        side = min(images.shape[-2:])
        if self.block > side:
            allowed = f"must be at most {side}, the image's shorter side"
            raise InputError("explainer.block", self.block, allowed)

    def _mask(self, distortion: "Distortion", shape: torch.Size) -> Float[Tensor, "b k h w"]:
        height, width = distortion.images.shape[-2:]
        # The objective's gradient times the number of pixels, so that its values are about 1.
        scale = height * width / distortion.of_noise
        scale = scale.where(distortion.of_noise > 0, 0)[:, :, None, None]
        size = -(-height // self.block), -(-width // self.block)
        blocks = distortion.images.new_ones(*shape, *size)
        adam = torch.optim.Adam([blocks], lr=self.step_size)

        def mask() -> Float[Tensor, "b k h w"]:
            tall = blocks.repeat_interleave(self.block, dim=2)[:, :, :height]
            return tall.repeat_interleave(self.block, dim=3)[:, :, :, :width]

        for _ in range(self.steps):
            gradient = scale * distortion.gradient(mask(), self.samples) + self.sparsity
            # Windows that extend beyond the edge are averaged over the pixels that they hold.
            blocks.grad = F.avg_pool2d(gradient, self.block, ceil_mode=True)
            adam.step()
            blocks.clamp_(0, 1)
        return mask().contiguous()


class Distortion:
    """How far noise in the masked parts moves the outputs of each image's targets.

    Args:
        explainer: which noise, and which output.
        classifier: whose module is in evaluation mode.
        images: ``[B, C, H, W]``.
        targets: ``int64[B, K]``.
        streams: where the noise comes from; all targets of an image share it.

    Attributes:
        scores: the outputs without noise, ``[B, K]``.
        of_noise: the distortion of an empty mask, ``[B, K]``.
    """

    def __init__(
        self,
        explainer: RDE,
        classifier: Classifier,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        streams: RandomStreams,
    ) -> None:
        self.explainer = explainer
        self.classifier = classifier
        self.images = images
        self.targets = targets
        self.streams = streams
        # A network may begin with an operation in place, and the images are still needed.
        self.scores = self._outputs(images.clone(), targets)
        self.of_noise = torch.zeros_like(self.scores)
        for _ in range(_OF_NOISE):
            moved = self._outputs(self._noise(), targets) - self.scores
            self.of_noise += moved.square() / _OF_NOISE

    def gradient(self, mask: Float[Tensor, "b k h w"], samples: int) -> Float[Tensor, "b k h w"]:
        """The distortion's gradient at a mask, estimated from new noise."""
        ranks, total = mask.shape[1], torch.zeros_like(mask)
        flat, into = mask.flatten(0, 1)[:, None], total.view(-1, *mask.shape[2:])
        scores, targets = self.scores.flatten()[:, None], self.targets.flatten()[:, None]
        for _ in range(samples):
            noise = self._noise()
            for rows in self._parts(len(flat)):
                image, behind = self.images[rows // ranks], noise[rows // ranks]
                with torch.enable_grad():
                    shown = flat[rows].requires_grad_()
                    outputs = self._outputs(shown * image + (1 - shown) * behind, targets[rows])
                    distortion = (outputs - scores[rows]).square().sum()
                    into[rows] += torch.autograd.grad(distortion, shown)[0][:, 0] / samples
        return total

    def _outputs(
        self, images: Float[Tensor, "n c h w"], targets: Int64[Tensor, "n k"]
    ) -> Float[Tensor, "n k"]:
        # Convolutions take another path for a batch of one, and differ in the last digit.
        together = images if len(images) > 1 else images.repeat(2, 1, 1, 1)
        logits: Tensor = self.classifier.module(together)[: len(images)]
        if self.explainer.output == "probability":
            logits = self.classifier.probabilities(logits).to(logits)
        return target_scores(logits, targets)

    def _noise(self) -> Float[Tensor, "b c h w"]:
        shape = tuple(self.images.shape[1:])
        if self.explainer.noise == "gaussian":
            return self.streams.normal(shape).to(self.images)
        pixels = self.streams.uniform(shape).to(self.images)
        return self.classifier.normalisation.to_normalised(pixels)

    def _parts(self, rows: int) -> Iterator[Int64[Tensor, " r"]]:
        """Rows in parts of about the same size that the device computes at once."""
        at_once = AT_ONCE.get(self.images.device.type, max(AT_ONCE.values()))
        everything = torch.arange(rows, device=self.images.device)
        yield from everything.tensor_split(-(-rows // at_once))

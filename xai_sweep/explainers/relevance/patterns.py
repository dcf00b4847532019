"""Patterns: for every neuron, the direction of its input that carries its output.

A neuron's weight ``w`` shows how to remove the noise; its pattern ``a`` shows where the signal is.
With the bias as the weight of a constant input, the estimators are

    two_component: a = (E+[x y] - E+[x] E[y]) / (w^T (E+[x y] - E+[x] E[y]))
    linear:        a = (E [x y] - E [x] E[y]) / (w^T (E [x y] - E [x] E[y]))

where ``y = w^T x``, ``E`` is the mean over images and positions, and ``E+`` that over those where
a following ReLU is open, ``y > 0``.

Source: Kindermans et al. 2018, "Learning how to explain neural networks: PatternNet and
PatternAttribution", arXiv:1705.05598, section 4.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine.layers import Affine

Estimator: TypeAlias = Literal["two_component", "linear"]
_FORMAT = "xai_sweep patterns 1"


@dataclass(frozen=True, eq=False)
class Patterns:
    """What was fitted: a pattern for every layer with weights, fused as LRP fuses them.

    Attributes:
        tensors: by position and path of the layer; each the shape of the layer's weight.
        weights: hash of the network that they were fitted to.
        estimator: which equation.
        images: how many images they were fitted on.
        growth: how much a layer's patterns enlarge what is propagated back through them, averaged
            over some of those images: root mean squares, of what leaves over what arrives.
    """

    tensors: Mapping[str, Tensor]
    weights: str
    estimator: str
    images: int
    growth: Mapping[str, float]

    def to_bytes(self) -> bytes:
        """The content of a safetensors file."""
        facts = {
            "format": _FORMAT,
            "weights": self.weights,
            "estimator": self.estimator,
            "images": str(self.images),
            "growth": json.dumps(dict(self.growth)),
        }
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.tensors.items()}
        return save(tensors, metadata=facts)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "these bytes") -> "Patterns":
        """What `to_bytes` gave.

        Args:
            content: of a file.
            name: of the file, for messages.

        Raises:
            InputError: they are damaged, or are not patterns.
        """
        try:
            tensors = load(content)
            facts = _metadata(content)
        except (SafetensorError, ValueError) as error:
            reason = " ".join(str(error).split())
            allowed = f"cannot be read: {reason}; must be a file that a fit wrote"
            raise InputError("explainer.patterns", name, allowed) from error
        if facts.get("format") != _FORMAT:
            raise InputError("explainer.patterns", name, "must be a file of fitted patterns")
        growth = json.loads(facts["growth"])
        return cls(tensors, facts["weights"], facts["estimator"], int(facts["images"]), growth)


def _metadata(content: bytes) -> dict[str, str]:
    """What a safetensors file says beside its tensors: the library reads it only from a file."""
    size = int.from_bytes(content[:8], "little")
    facts: dict[str, str] = json.loads(content[8 : 8 + size]).get("__metadata__") or {}
    return facts


class Moments:
    """Sums over images and positions for one layer, in float64.

    Args:
        layer: the layer.
        positive: whether the sums of ``x`` and ``x y`` include only ``y > 0``.
    """

    def __init__(self, layer: Affine, positive: bool) -> None:
        like = layer.weight
        neurons = torch.zeros(len(like), dtype=torch.float64, device=like.device)
        self.layer = layer
        self.positive = positive
        self.count = 0
        self.y = neurons
        self.counted = neurons.clone()
        self.counted_y = neurons.clone()
        self.counted_x = torch.zeros_like(like, dtype=torch.float64)
        self.counted_xy = torch.zeros_like(like, dtype=torch.float64)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add a batch: the layer's input, and its output before the activation."""
        chosen = (y > 0).to(y.dtype) if self.positive else torch.ones_like(y)
        with torch.enable_grad():
            # The gradient with respect to the weight is the sum of x times the output's gradient:
            # the correlation over all patches of a convolution, without extracting them.
            weight = self.layer.weight.detach().requires_grad_()
            output = self.layer.apply(x.detach(), weight)
            (counted_x,) = torch.autograd.grad(output, weight, chosen, retain_graph=True)
            (counted_xy,) = torch.autograd.grad(output, weight, chosen * y)
        self.counted_x += counted_x
        self.counted_xy += counted_xy
        self.count += y.numel() // len(self.y)
        self.y += self._per_neuron(y)
        self.counted += self._per_neuron(chosen)
        self.counted_y += self._per_neuron(chosen * y)

    def pattern(self) -> Tensor:
        """The pattern, in the weight's shape and type; 0 for a neuron without any signal."""
        weight = self.layer.weight.double()
        counted, mean = self.counted.clamp(min=1), self.y / max(1, self.count)
        column = (-1, *[1] * (weight.dim() - 1))
        covariance = self.counted_xy - self.counted_x * mean.view(column)
        covariance /= counted.view(column)
        variance = (weight * covariance).flatten(1).sum(dim=1)
        if self.layer.bias is not None:
            of_bias = self.counted_y / counted - mean * (self.counted > 0)
            variance += self.layer.bias.double() * of_bias
        # Rounding leaves a residue where this is zero: a neuron that never changes has no signal.
        has_signal = variance > 1e-6 * (self.counted_y / counted).square()
        pattern = covariance / variance.where(has_signal, torch.inf).view(column)
        return pattern.to(self.layer.weight.dtype)

    def _per_neuron(self, values: Tensor) -> Float[Tensor, " k"]:
        """Sum over everything but the output channels."""
        channels = self.layer.along_channels(torch.ones_like(self.y), values.dim())
        axis = values.dim() - channels.dim()
        return values.movedim(axis, 0).flatten(1).sum(dim=1, dtype=torch.float64)


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over names and values of all weights, in single precision."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

"""Layers with weights as pure functions: what a rule needs to know about a convolution.

Every layer is affine, ``z_k = sum_j a_j w_jk + b_k``. A rule replaces the weights and needs the sum
over inputs (`apply`) or over outputs (`transpose`), ``sum_k w_jk s_k``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override


@dataclass(frozen=True, eq=False)
class Affine(ABC):
    """An affine layer.

    Attributes:
        weight: as torch stores it for this kind of layer.
        bias: one number per output channel, or None.
    """

    weight: Tensor
    bias: Float[Tensor, " k"] | None

    @abstractmethod
    def apply(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """``sum_j a_j w_jk + b_k`` for other weights of the same shape."""

    @abstractmethod
    def transpose(self, values: Tensor, weight: Tensor, size: tuple[int, ...]) -> Tensor:
        """``sum_k w_jk s_k`` for other weights; ``size`` is the layer's input without batch."""

    def along_channels(self, values: Float[Tensor, " k"], dims: int) -> Tensor:
        """One number per output channel, shaped to be added to an output with ``dims`` axes."""
        return values.view(-1, *[1] * (dims - 2))

    def with_output_scaled(
        self, factor: Float[Tensor, " k"], shift: Float[Tensor, " k"]
    ) -> "Affine":
        """The layer followed by ``factor * z + shift`` per channel."""
        weight = self.weight * factor.view(-1, *[1] * (self.weight.dim() - 1))
        return replace(
            self, weight=weight, bias=shift if self.bias is None else self.bias * factor + shift
        )

    def is_elementwise(self) -> bool:
        """Whether every output has one input of its own."""
        return False

    @abstractmethod
    def with_input_scaled(
        self, factor: Float[Tensor, " j"], shift: Float[Tensor, " j"]
    ) -> "Affine | None":
        """The layer applied to ``factor * a + shift`` per channel; None where that is not exact."""


@dataclass(frozen=True, eq=False)
class Conv(Affine):
    """A two-dimensional convolution.

    Attributes:
        outer_padding: zeros around the input before the convolution's own padding: left, right,
            top, bottom. Unlike `padding` they need not be symmetric (TensorFlow's padding).
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    outer_padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    @override
    def apply(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if any(self.outer_padding):
            inputs = F.pad(inputs, self.outer_padding)
        return F.conv2d(inputs, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    @override
    def transpose(self, values: Tensor, weight: Tensor, size: tuple[int, ...]) -> Tensor:
        left, right, top, bottom = self.outer_padding
        height, width = size[1] + top + bottom, size[2] + left + right
        # Rows and columns of the input that a strided kernel never reached.
        unreached = [
            (height, width)[axis]
            - (values.shape[axis + 2] - 1) * self.stride[axis]
            + 2 * self.padding[axis]
            - self.dilation[axis] * (weight.shape[axis + 2] - 1)
            - 1
            for axis in (0, 1)
        ]
        padded = F.conv_transpose2d(
            values, weight, None, self.stride, self.padding, unreached, self.groups, self.dilation
        )
        return padded[:, :, top : height - bottom, left : width - right]

    @override
    def with_input_scaled(
        self, factor: Float[Tensor, " j"], shift: Float[Tensor, " j"]
    ) -> "Conv | None":
        # The padding is not shifted, so where it plays a part this would not be exact.
        if any((*self.padding, *self.outer_padding)) and bool(shift.any()):
            return None
        inputs = self.weight.shape[1]
        per_group = factor.view(self.groups, 1, inputs, 1, 1)
        grouped = self.weight.view(self.groups, -1, *self.weight.shape[1:])
        moved = (grouped * shift.view(self.groups, 1, inputs, 1, 1)).sum((2, 3, 4)).flatten()
        return replace(
            self,
            weight=(grouped * per_group).view_as(self.weight),
            bias=moved if self.bias is None else self.bias + moved,
        )


@dataclass(frozen=True, eq=False)
class Linear(Affine):
    """A fully connected layer on the last axis."""

    @override
    def apply(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(inputs, weight, bias)

    @override
    def transpose(self, values: Tensor, weight: Tensor, size: tuple[int, ...]) -> Tensor:
        return values @ weight

    @override
    def along_channels(self, values: Float[Tensor, " k"], dims: int) -> Tensor:
        return values  # channels are the last axis

    @override
    def with_input_scaled(
        self, factor: Float[Tensor, " j"], shift: Float[Tensor, " j"]
    ) -> "Linear":
        moved = self.weight @ shift
        return replace(
            self,
            weight=self.weight * factor,
            bias=moved if self.bias is None else self.bias + moved,
        )


@dataclass(frozen=True, eq=False)
class Scale(Affine):
    """A factor and a shift per channel: a batchnorm that is not fused."""

    @override
    def is_elementwise(self) -> bool:
        return True

    @override
    def apply(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        scaled = inputs * self.along_channels(weight, inputs.dim())
        return scaled if bias is None else scaled.add_(self.along_channels(bias, inputs.dim()))

    @override
    def transpose(self, values: Tensor, weight: Tensor, size: tuple[int, ...]) -> Tensor:
        return values * self.along_channels(weight, values.dim())

    @override
    def with_input_scaled(self, factor: Float[Tensor, " j"], shift: Float[Tensor, " j"]) -> "Scale":
        moved = self.weight * shift
        return replace(
            self,
            weight=self.weight * factor,
            bias=moved if self.bias is None else self.bias + moved,
        )


def layout(weight: Tensor) -> torch.memory_format:
    """The memory format of a weight."""
    is_last = weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format

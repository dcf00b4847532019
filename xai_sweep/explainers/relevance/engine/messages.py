"""Relevance on its way from the logit to the image, and the account of what does not arrive.

Relevance travels in one of two forms: as ``R`` itself, or, which is faster, as ``c`` with
``R = a c`` for the value ``a`` of the node where it is. LRP-0 in the second form is the gradient.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class Message:
    """Relevance that has arrived at a node.

    Attributes:
        values: ``[B, ...]``, the shape of the node's value.
        is_relevance: whether it is ``R``; otherwise ``c``.
        is_owned: nothing else refers to this memory, so it may be overwritten.
    """

    values: Tensor
    is_relevance: bool = False
    is_owned: bool = False

    def times(self, factor: Tensor | float, may_overwrite: bool = True) -> Tensor:
        """The product with a factor that broadcasts to the values; in place where that is safe."""
        is_safe = self.is_owned and may_overwrite
        return self.values.mul_(factor) if is_safe else self.values * factor

    def where_positive(self, values: Tensor) -> Tensor:
        """The message where the values are above zero, 0 elsewhere; in place where that is safe."""
        into = self.values if self.is_owned else torch.empty_like(self.values)
        masked: Tensor = aten.threshold_backward.grad_input(self.values, values, 0, grad_input=into)
        return masked

    def plus(self, other: "Message", value: Tensor | None) -> "Message":
        """The sum with another message to the same node; mixed forms need the node's value."""
        if self.is_relevance != other.is_relevance:
            assert value is not None
            return self.as_relevance(value).plus(other.as_relevance(value), None)
        if self.is_owned:
            return Message(self.values.add_(other.values), self.is_relevance, is_owned=True)
        return Message(self.values + other.values, self.is_relevance, is_owned=True)

    def as_relevance(self, value: Tensor) -> "Message":
        """In the form ``R``, given the node's value."""
        if self.is_relevance:
            return self
        return Message(self.values * value, is_relevance=True, is_owned=True)


@dataclass(eq=False)
class Ledger:
    """The relevance that did not reach the inputs.

    Attributes:
        absorbed: by biases and constants, per image, ``float64[B]``.
        lost: to stabilisers and zero denominators, per image, ``float64[B]``.
    """

    absorbed: Tensor
    lost: Tensor

    def absorb(self, values: Tensor, weights: float | Tensor) -> None:
        """Constants took ``values * weights``, which broadcast to ``values``."""
        self.absorbed += self._by_image(values, weights)

    def lose(self, values: Tensor, weights: float | Tensor) -> None:
        """Nothing received ``values * weights``, which broadcast to ``values``."""
        self.lost += self._by_image(values, weights)

    def _by_image(self, values: Tensor, weights: float | Tensor) -> Tensor:
        # Rows are images, unless there is a single image.
        return weighted_sum(values, weights).view(len(self.lost), -1).sum(dim=1)


def weighted_sum(values: Tensor, weights: float | Tensor) -> Tensor:
    """The sum of ``values * weights`` per row, ``float64[B]``, without making the product.

    It is needed for every layer and every target, so a product and its copy into another memory
    format would cost as much as the propagation.
    """
    by = weights if isinstance(weights, Tensor) else values.new_tensor(weights)
    if values.dim() <= 1:
        return (values * by).double()
    by = by.view([1] * (values.dim() - by.dim()) + list(by.shape))
    if get_proxy_mode() is not None:
        # While a graph is recorded: a compiler fuses the product, and may change memory formats.
        return (values * by).sum(list(range(1, values.dim()))).double()
    shared = [axis for axis in range(1, values.dim()) if by.shape[axis] == 1]
    if shared:
        sums = values.sum(shared, keepdim=True).double() * by.double()
        return sums.flatten(1).sum(dim=1)
    if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
        values, by = values.permute(0, 2, 3, 1), by.permute(0, 2, 3, 1)
    rows, columns = values.flatten(1), by.expand_as(values).flatten(1)
    return (rows[:, None, :] @ columns[:, :, None]).flatten().double()

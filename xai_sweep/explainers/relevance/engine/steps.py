"""A network's operations: each computes its value, and hands relevance back to its inputs.

Relevance travels in one of two forms: as ``R`` itself, or, which is faster, as ``c`` with
``R = a c`` for the value ``a`` of the place where it is. LRP-0 in the second form is the gradient.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from xai_sweep.explainers.relevance.engine.rules import Rule
from xai_sweep.explainers.relevance.engine.splits import Proportional, Site, Split, Ways

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class Message:
    """Relevance on its way down.

    Attributes:
        values: ``[B, ...]``, the shape of the place's value.
        is_relevance: whether it is ``R``; otherwise ``c``.
        is_owned: nobody else holds this memory, so it may be overwritten.
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
        """The sum with another message to the same place; mixed forms need the place's value."""
        if self.is_relevance != other.is_relevance:
            assert value is not None
            return self.as_relevance(value).plus(other.as_relevance(value), None)
        if self.is_owned:
            return Message(self.values.add_(other.values), self.is_relevance, is_owned=True)
        return Message(self.values + other.values, self.is_relevance, is_owned=True)

    def as_relevance(self, value: Tensor) -> "Message":
        """In the form ``R``, given the place's value."""
        if self.is_relevance:
            return self
        return Message(self.values * value, is_relevance=True, is_owned=True)


@dataclass(eq=False)
class Ledger:
    """Where relevance went that did not reach the inputs.

    Attributes:
        absorbed: by biases and constants, per image, ``float64[B]``.
        lost: to stabilisers and zero denominators, per image, ``float64[B]``.
    """

    absorbed: Tensor
    lost: Tensor

    def absorb(self, values: Tensor, weights: float | Tensor) -> None:
        """Constants took ``values * weights``, which broadcast to ``values``."""
        self.absorbed += _weighed(values, weights)

    def lose(self, values: Tensor, weights: float | Tensor) -> None:
        """Nobody got ``values * weights``, which broadcast to ``values``."""
        self.lost += _weighed(values, weights)


def _weighed(values: Tensor, weights: float | Tensor) -> Tensor:
    """The sum of ``values * weights`` per image, ``float64[B]``, without making the product.

    It is asked for every layer and every target, so a product and its copy into another memory
    format would cost as much as the propagation.
    """
    by = weights if isinstance(weights, Tensor) else values.new_tensor(weights)
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


@dataclass(eq=False, kw_only=True)
class Step(ABC):
    """One operation of the network, or several taken together.

    Attributes:
        node: of the graph, whose value the step computes.
        args, kwargs: the arguments as in the graph, nodes standing for their values.
        inputs: the nodes to which relevance goes on; empty if none does.
        op, path, rule, batchnorm, note: what a person is told about it.
        takes_relevance: the form of what arrives, known before the first image.
    """

    node: fx.Node
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[fx.Node, ...] = ()
    op: str = ""
    path: str = ""
    rule: str = ""
    batchnorm: str = ""
    note: str = ""
    takes_relevance: bool = False

    @property
    def emits_relevance(self) -> bool:
        """The form of what leaves."""
        return self.takes_relevance

    @abstractmethod
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        """The value, and what `backward` needs of this pass.

        Args:
            args: the arguments' values.
            kwargs: those of the named arguments.
            accounts: whether `backward` will keep a ledger.
        """

    @abstractmethod
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        """From the value's place to each of the inputs."""


@dataclass(eq=False, kw_only=True)
class Compute(Step):
    """Only forward: the branch of a gate, a size, a constant."""

    compute: Callable[..., Any]

    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        """See `Step.forward`."""
        return self.compute(*args, **kwargs), None

    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        """Nothing goes on."""
        return []


@dataclass(eq=False, kw_only=True)
class Layer(Step):
    """An affine layer with its rule, and the activation behind it if that is all that reads it.

    Attributes:
        site: the layer with what was fused into it.
        chosen: the rule.
        activation: maps ``z`` to a new tensor; None if the layer's value is ``z``.
        is_relu: the activation is a plain ReLU.
    """

    site: Site
    chosen: Rule
    activation: Callable[[Tensor], Tensor] | None = None
    is_relu: bool = False

    @property
    def emits_relevance(self) -> bool:
        """See `Step.emits_relevance`."""
        return self.chosen.emits_relevance

    @cached_property
    def split(self) -> Split:
        """The rule with its weights prepared."""
        # Relevance in the form R does not stop at a ReLU, because it is handed on as it is.
        rectified = self.site.rectified and not self.takes_relevance
        return self.chosen.at(replace(self.site, rectified=rectified))

    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        """See `Step.forward`."""
        a, layer, split = args[0], self.site.layer, self.split
        z = layer.apply(a, layer.weight, layer.bias)
        is_exact = isinstance(split, Proportional) and not split.stabilizer
        unbiased = layer.bias if split.layer.bias is None else None
        if is_exact and unbiased is None and not self.takes_relevance:
            # R / z is c, and behind a ReLU it is c where the ReLU is open and 0 elsewhere.
            if self.activation is None:
                return z, (Ways((None,)), None, None)
            if self.is_relu:
                value = z.relu_()
                return value, (Ways((None,)), None, value)
        value = z if self.activation is None else self.activation(z)
        top = None if self.takes_relevance else value
        sums = z if unbiased is None else z - layer.along_channels(unbiased, z.dim())
        return value, (split.ways(a, sums, top, accounts), split.keep(a), None)

    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        """See `Step.backward`."""
        ways, of_input, open_where = kept
        if ledger is not None and ways.lost is not None:
            ledger.lose(message.values, ways.lost)
        if ledger is not None and ways.absorbed is not None:
            ledger.absorb(message.values, ways.absorbed)
        if open_where is not None:
            message = Message(message.where_positive(open_where), is_owned=True)
        last = len(ways.factors) - 1
        shares = tuple(
            message.values if way is None else message.times(way, may_overwrite=number == last)
            for number, way in enumerate(ways.factors)
        )
        if ledger is not None:
            for share, toll, bias in zip(shares, ways.tolls, self.split.biases, strict=True):
                if isinstance(toll, Tensor) or toll:
                    ledger.lose(share, toll)
                if bias is not None:
                    ledger.absorb(share, self.site.layer.along_channels(bias, share.dim()))
        return [Message(self.split.back(shares, of_input), self.emits_relevance, is_owned=True)]

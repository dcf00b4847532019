"""A step of propagation: computes a value, and sends relevance from it to its inputs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.quotients import ratio, remainder


@dataclass(eq=False, kw_only=True)
class Step(ABC):
    """One operation of the network, or several taken together.

    Attributes:
        node: of the graph, whose value the step computes.
        args, kwargs: the arguments as in the graph, nodes standing for their values.
        inputs: the nodes to which relevance goes on; empty if none does.
        op, path, rule, batchnorm, note: what `xai-sweep preflight` prints about it.
        takes_relevance: whether relevance arrives as ``R``; otherwise as ``c``.
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
        """Whether relevance leaves as ``R``; otherwise as ``c``."""
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
        """From the computed value to each of the inputs."""

    def as_factor(self, value: Tensor, accounts: bool) -> tuple[Tensor | None, Tensor | None]:
        """By what a message becomes ``c``, and its part that is lost because the value is zero."""
        if not self.takes_relevance:
            return None, None
        scale = ratio(None, value)
        return scale, remainder(None, scale, value, 0.0) if accounts else None


def received(
    message: Message, scale: Tensor | None, lost: Tensor | None, ledger: Ledger | None
) -> Tensor:
    """A message scaled, of which what is lost stands in the ledger."""
    if ledger is not None and lost is not None:
        ledger.lose(message.values, lost)
    return message.values if scale is None else message.times(scale)


@dataclass(eq=False, kw_only=True)
class Compute(Step):
    """Computes a value that has no relevance: the branch of a gate, a size, a constant."""

    compute: Callable[..., Any]

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        return self.compute(*args, **kwargs), None

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        return []

"""The frame of the fast forms: a neuron's relevance times one factor or two, sent back by weights.

Nearly every rule has ``R_j = a_j c_j``. Those send ``c_j``, which saves a multiplication here and a
division one layer below; the others send ``R_j``.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.contributions import Site
from xai_sweep.explainers.relevance.engine.forms import Form
from xai_sweep.explainers.relevance.engine.messages import Ledger, Message


@dataclass(frozen=True, eq=False)
class Factors:
    """How every output distributes its relevance: in one or two fractions, each with a factor.

    Attributes:
        factors: for every fraction, what a message is multiplied by before it goes back through
            the weights, ``a / d`` or ``1 / d``; None for 1.
        stabilizers: for every fraction, what its denominator holds beside contributions and bias: a
            number, or ``[B, 1, ...]``.
        lost: the part of a message that belongs to no fraction, if accounts are kept; None for
            nothing.
        absorbed: the part of a message that the bias takes, where it is not fraction times bias.
    """

    factors: tuple[Tensor | None, ...]
    stabilizers: tuple[float | Tensor, ...] = (0.0,)
    lost: Tensor | None = None
    absorbed: Tensor | None = None


class FactorForm(Form):
    """A form whose fractions of relevance are ``message * factor``.

    Args:
        site: where it is.
        stabilizer: the rule's.
        with_bias: whether the bias belongs to the denominator ``z``.

    Attributes:
        biases: one per fraction, what the bias contributes to its denominator; None for nothing.
    """

    emits_relevance: ClassVar[bool] = False
    biases: tuple[Tensor | None, ...] = (None,)

    def __init__(self, site: Site, stabilizer: float = 0.0, with_bias: bool = True) -> None:
        self.excluded_bias = None if with_bias else site.layer.bias
        self.site = site if with_bias else site.without_bias()
        self.layer = self.site.layer
        self.stabilizer = stabilizer

    @abstractmethod
    def factors(self, a: Tensor, z: Tensor, numerator: Tensor | None, accounts: bool) -> Factors:
        """The factors for one batch.

        Args:
            a: the layer's input ``[B, ...]``.
            z: the layer's sums, without a bias that takes no part; not to be changed.
            numerator: by what messages are multiplied to become ``R``; None if they are ``R``.
            accounts: whether `Factors.lost` is needed.
        """

    def keep(self, a: Tensor) -> Tensor | None:
        """What `send` will need of the input."""
        return None

    @abstractmethod
    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        """From the fractions at the outputs to the inputs: ``c_j``, or ``R_j``."""

    @override
    def forward(self, a: Tensor, z: Tensor, value: Tensor | None, accounts: bool) -> Any:
        sums = z
        if self.excluded_bias is not None:
            sums = z - self.layer.along_channels(self.excluded_bias, z.dim())
        return self.factors(a, sums, value, accounts), self.keep(a)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> Tensor:
        found, of_input = kept
        if ledger is not None and found.lost is not None:
            ledger.lose(message.values, found.lost)
        if ledger is not None and found.absorbed is not None:
            ledger.absorb(message.values, found.absorbed)
        last = len(found.factors) - 1
        shares = tuple(
            message.values
            if factor is None
            else message.times(factor, may_overwrite=number == last)
            for number, factor in enumerate(found.factors)
        )
        if ledger is not None:
            for share, stabilizer, bias in zip(shares, found.stabilizers, self.biases, strict=True):
                if isinstance(stabilizer, Tensor) or stabilizer:
                    ledger.lose(share, stabilizer)
                if bias is not None:
                    ledger.absorb(share, self.layer.along_channels(bias, share.dim()))
        return self.send(shares, of_input)

"""The rules of layer-wise relevance propagation, each an equation for one affine layer.

A neuron k with relevance ``R_k`` hands it down to its inputs j in proportion to their
contributions: ``R_j = sum_k (z_jk / d_k) R_k``. The rules differ in the contributions ``z_jk``,
which are ``a_j w_jk`` for the plainest, and in the denominator ``d_k``, which is their sum with
the bias' part, and a stabiliser. ``0 / 0`` is 0: who got nothing hands down nothing.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import torch

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine.rule_splits import (
    AbsoluteSplit,
    AlphaBetaSplit,
    BoxSplit,
    EvenSplit,
    GammaSplit,
    PassSplit,
)
from xai_sweep.explainers.relevance.engine.splits import Proportional, Site, Split


@dataclass(frozen=True)
class Rule(ABC):
    """A rule with its parameters.

    Class attributes:
        name: as written in a list of rules.
        source: where it is defined.
        emits_relevance: whether relevance is handed down as ``R_j``; otherwise as ``c_j``, with
            ``R_j = a_j c_j`` for the input ``a_j``.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    emits_relevance: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name in ("gamma", "alpha", "beta", "stabilizer"):
                self.require(field.name, is_number(getattr(self, field.name)), "must be at least 0")

    @abstractmethod
    def at(self, site: Site) -> Split:
        """The rule prepared for one layer."""

    def require(self, parameter: str, is_good: bool, allowed: str) -> None:
        """Refuse a parameter's value.

        Raises:
            InputError: naming the rule, the parameter and what is allowed.
        """
        if not is_good:
            raise InputError(f"{self.name}.{parameter}", getattr(self, parameter), allowed)

    def __str__(self) -> str:
        given = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{self.name}({', '.join(given)})" if given else self.name


def is_number(value: object) -> bool:
    """Whether it is a finite number of at least zero."""
    return type(value) in (int, float) and 0 <= value < float("inf")  # type: ignore[operator]


@dataclass(frozen=True)
class Zero(Rule):
    """LRP-0: ``z_jk = a_j w_jk``, ``d_k = sum_j z_jk + b_k = z_k``.

    Attributes:
        bias: whether the bias takes its part, or leaves all to the inputs (``d_k = z_k - b_k``).
    """

    bias: bool = True

    name: ClassVar[str] = "zero"
    source: ClassVar[str] = "Bach et al. 2015, doi:10.1371/journal.pone.0130140, eq. 56"

    def at(self, site: Site) -> Split:
        """See `Rule.at`."""
        return Proportional(site if self.bias else site.without_bias(), 0.0, relative=False)


@dataclass(frozen=True)
class Epsilon(Rule):
    """LRP-epsilon: ``z_jk = a_j w_jk``, ``d_k = z_k + epsilon sign(z_k)``.

    Attributes:
        epsilon: above 0.
        relative: epsilon counts in units of the layer's mean ``|z|`` in the same image, as in the
            tutorial of Montavon et al. 2019 (there: root mean square).
        bias: as for `Zero`.
    """

    epsilon: float = 1e-6
    relative: bool = False
    bias: bool = True

    name: ClassVar[str] = "epsilon"
    source: ClassVar[str] = "Bach et al. 2015, doi:10.1371/journal.pone.0130140, eq. 58"

    def __post_init__(self) -> None:
        super().__post_init__()
        is_good = is_number(self.epsilon) and self.epsilon > 0
        self.require("epsilon", is_good, "must be above 0; for 0 take the rule zero")

    def at(self, site: Site) -> Split:
        """See `Rule.at`."""
        place = site if self.bias else site.without_bias()
        return Proportional(place, self.epsilon, self.relative)


@dataclass(frozen=True)
class Gamma(Rule):
    """LRP-gamma: contributions with the sign of ``z_k`` count ``1 + gamma`` times.

    ``z_jk = a_j w_jk + gamma max(0, a_j w_jk)`` where ``z_k > 0``, with min where ``z_k < 0``;
    ``d_k`` is their sum, the bias counted alike. For inputs of at least zero in front of a ReLU
    this is the original, ``w -> w + gamma max(0, w)``.

    Attributes:
        gamma: at least 0; 0 is LRP-0, and the larger, the nearer to alpha 1 beta 0.
        stabilizer: added to the denominator with its sign.
        bias: as for `Zero`.
    """

    gamma: float = 0.25
    stabilizer: float = 0.0
    bias: bool = True

    name: ClassVar[str] = "gamma"
    source: ClassVar[str] = (
        "Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10, table 10.1; "
        "for both signs Andeol et al. 2021, arXiv:2103.01592"
    )

    def at(self, site: Site) -> Split:
        """See `Rule.at`."""
        place = site if self.bias else site.without_bias()
        return GammaSplit(place, self.gamma, self.stabilizer)


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """LRP-alpha-beta: ``R_j = sum_k (alpha z_jk^+ / z_k^+ - beta z_jk^- / z_k^-) R_k``.

    ``z_jk^+ = max(0, a_j w_jk)``, ``z_k^+`` their sum with the bias' positive part; ``-`` alike.
    Where no contribution has a sign, that sign's part of the relevance goes nowhere.

    Attributes:
        alpha: beta + 1.
        beta: at least 0.
        stabilizer: added to the denominators with their sign.
        bias: as for `Zero`.
    """

    alpha: float = 2.0
    beta: float = 1.0
    stabilizer: float = 0.0
    bias: bool = True

    name: ClassVar[str] = "alpha_beta"
    source: ClassVar[str] = "Bach et al. 2015, doi:10.1371/journal.pone.0130140, eq. 60"

    def __post_init__(self) -> None:
        super().__post_init__()
        is_one = abs(self.alpha - self.beta - 1) < 1e-9
        self.require("alpha", is_one, f"must be beta + 1 = {self.beta + 1:g}")

    def at(self, site: Site) -> Split:
        """See `Rule.at`."""
        place = site if self.bias else site.without_bias()
        return AlphaBetaSplit(place, self.alpha, self.beta, self.stabilizer)


@dataclass(frozen=True)
class ZPlus(Rule):
    """The z+ rule: alpha-beta with alpha 1 and beta 0.

    Attributes:
        stabilizer: added to the denominator.
        bias: whether the bias' positive part takes its part.
    """

    stabilizer: float = 0.0
    bias: bool = True

    name: ClassVar[str] = "z_plus"
    source: ClassVar[str] = "Montavon et al. 2017, doi:10.1016/j.patcog.2016.11.008, section 4.1"

    def at(self, site: Site) -> Split:
        """See `Rule.at`."""
        place = site if self.bias else site.without_bias()
        return AlphaBetaSplit(place, 1.0, 0.0, self.stabilizer)


@dataclass(frozen=True)
class ZBox(Rule):
    """The z^B rule for pixels: ``z_jk = x_j w_jk - l_j max(0, w_jk) - h_j min(0, w_jk)``.

    ``l`` and ``h`` are the smallest and the largest value of the pixel's channel, black and white
    as the network's normalisation sees them. The bias takes no part.

    Attributes:
        stabilizer: added to the denominator.
    """

    stabilizer: float = 0.0

    emits_relevance: ClassVar[bool] = True
    name: ClassVar[str] = "z_box"
    source: ClassVar[str] = "Montavon et al. 2017, doi:10.1016/j.patcog.2016.11.008, section 4.1"

    def at(self, site: Site) -> Split:
        """See `Rule.at`."""
        return BoxSplit(site.without_bias(), self.stabilizer)


@dataclass(frozen=True)
class WSquare(Rule):
    """The w^2 rule: ``z_jk = w_jk^2``, whatever the input.

    Attributes:
        stabilizer: added to the denominator.
        bias: whether ``b_k^2`` takes its part. In the paper there is none; zennit counts it.
    """

    stabilizer: float = 0.0
    bias: bool = False

    emits_relevance: ClassVar[bool] = True
    name: ClassVar[str] = "w_square"
    source: ClassVar[str] = "Montavon et al. 2017, doi:10.1016/j.patcog.2016.11.008, section 4.1"

    def at(self, site: Site) -> Split:
        """See `Rule.at`."""
        bias = site.layer.bias if self.bias else None
        squared = None if bias is None else bias.square()
        return EvenSplit(site, site.layer.weight.square(), squared, self.stabilizer)


@dataclass(frozen=True)
class Flat(Rule):
    """The flat rule: ``z_jk = 1``, whatever input and weight.

    Attributes:
        stabilizer: added to the denominator.
    """

    stabilizer: float = 0.0

    emits_relevance: ClassVar[bool] = True
    name: ClassVar[str] = "flat"
    source: ClassVar[str] = "Lapuschkin et al. 2019, doi:10.1038/s41467-019-08987-4, methods"

    def at(self, site: Site) -> Split:
        """See `Rule.at`."""
        return EvenSplit(site, torch.ones_like(site.layer.weight), None, self.stabilizer)


@dataclass(frozen=True)
class Pass(Rule):
    """Hands relevance on as it is: ``R_j = R_k`` where input and output stand one to one."""

    emits_relevance: ClassVar[bool] = True
    name: ClassVar[str] = "pass"
    source: ClassVar[str] = "the usual treatment of element-wise activations"

    def at(self, site: Site) -> Split:
        """See `Rule.at`."""
        return PassSplit(site)


@dataclass(frozen=True)
class AbsZ(Rule):
    """The ``|z|`` rule for batchnorm: ``R_x = |w x| / (|w x| + |b|) R`` for ``y = w x + b``."""

    emits_relevance: ClassVar[bool] = True
    name: ClassVar[str] = "abs_z"
    source: ClassVar[str] = "Hui and Binder 2019, arXiv:1908.06534"

    def at(self, site: Site) -> Split:
        """See `Rule.at`."""
        return AbsoluteSplit(site)


def rules() -> dict[str, type[Rule]]:
    """Every rule by its name."""
    return {rule.name: rule for rule in Rule.__subclasses__()}

"""The rules of layer-wise relevance propagation, each an equation for one affine layer.

A neuron k with relevance ``R_k`` distributes it among its inputs j in proportion to their
contributions: ``R_j = sum_k (z_jk / d_k) R_k``. The rules differ in the contributions ``z_jk``,
which are ``a_j w_jk`` for the plainest, and in the denominator ``d_k``, which is their sum with
the bias' part, and a stabiliser. ``0 / 0`` is 0: without contributions nothing is distributed.

A rule's `Rule.redistribute` is its equation, and nothing more is needed: that is a complete rule.
What runs for the rules below are faster forms (`fast_forms`), each tested against its equation.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.relevance.engine.contributions import (
    Shares,
    Site,
    distribute,
    mean_size,
)
from xai_sweep.explainers.relevance.engine.rule import InSums, Rule

NonNegative = Annotated[float, Ge(0)]


@dataclass(frozen=True)
class Zero(Rule):
    """LRP-0: ``z_jk = a_j w_jk``, ``d_k = sum_j z_jk + b_k = z_k``.

    Attributes:
        bias: whether the bias takes its part, or leaves all to the inputs (``d_k = z_k - b_k``).
    """

    bias: bool = True

    name: ClassVar[str] = "zero"
    source: ClassVar[str] = "Bach et al. 2015, doi:10.1371/journal.pone.0130140, eq. 56"

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        return distribute(relevance, site.contributions(a, self.bias))


@dataclass(frozen=True)
class Epsilon(Rule):
    """LRP-epsilon: ``z_jk = a_j w_jk``, ``d_k = z_k + epsilon sign(z_k)``.

    Attributes:
        epsilon: above 0; for 0 there is `Zero`.
        relative: epsilon counts in units of the layer's mean ``|z|`` in the same image, as in the
            tutorial of Montavon et al. 2019 (there: root mean square).
        bias: as for `Zero`.
    """

    epsilon: Annotated[float, Gt(0)] = 1e-6
    relative: bool = False
    bias: bool = True

    name: ClassVar[str] = "epsilon"
    source: ClassVar[str] = "Bach et al. 2015, doi:10.1371/journal.pone.0130140, eq. 58"

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        z = site.contributions(a, self.bias)
        unit = mean_size(z.total(), site.by_image) if self.relative else 1.0
        return distribute(relevance, z, self.epsilon * unit)

    @override
    def in_sums(self) -> InSums:
        return InSums(stabilizer=self.epsilon, relative=self.relative)


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

    gamma: NonNegative = 0.25
    stabilizer: NonNegative = 0.0
    bias: bool = True

    name: ClassVar[str] = "gamma"
    source: ClassVar[str] = (
        "Montavon et al. 2019, doi:10.1007/978-3-030-28954-6_10, table 10.1; "
        "for both signs Andeol et al. 2021, arXiv:2103.01592"
    )

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        z = site.contributions(a, self.bias)
        above, below = z + self.gamma * z.positive(), z + self.gamma * z.negative()
        from_positive = distribute(relevance * (z.total() > 0), above, self.stabilizer)
        from_negative = distribute(relevance * (z.total() < 0), below, self.stabilizer)
        return from_positive + from_negative

    @override
    def in_sums(self) -> InSums:
        return InSums(stabilizer=self.stabilizer)


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """LRP-alpha-beta: ``R_j = sum_k (alpha z_jk^+ / z_k^+ - beta z_jk^- / z_k^-) R_k``.

    ``z_jk^+ = max(0, a_j w_jk)``, ``z_k^+`` their sum with the bias' positive part; ``-`` alike.
    Where no contribution has a sign, that sign's part of the relevance is lost.

    Attributes:
        alpha: beta + 1.
        beta: at least 0.
        stabilizer: added to the denominators with their sign.
        bias: as for `Zero`.
    """

    alpha: NonNegative = 2.0
    beta: NonNegative = 1.0
    stabilizer: NonNegative = 0.0
    bias: bool = True

    name: ClassVar[str] = "alpha_beta"
    source: ClassVar[str] = "Bach et al. 2015, doi:10.1371/journal.pone.0130140, eq. 60"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if abs(self.alpha - self.beta - 1) >= 1e-9:
            raise InputError("rule.alpha", self.alpha, f"must be beta + 1 = {self.beta + 1:g}")

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        z = site.contributions(a, self.bias)
        activating = distribute(self.alpha * relevance, z.positive(), self.stabilizer)
        inhibiting = distribute(-self.beta * relevance, z.negative(), self.stabilizer)
        return activating + inhibiting

    @override
    def in_sums(self) -> InSums:
        return InSums(stabilizer=self.stabilizer)


@dataclass(frozen=True)
class ZPlus(Rule):
    """The z+ rule, alpha-beta with alpha 1 and beta 0: ``z_jk = max(0, a_j w_jk)``.

    Attributes:
        stabilizer: added to the denominator.
        bias: whether the bias' positive part takes its part.
    """

    stabilizer: NonNegative = 0.0
    bias: bool = True

    name: ClassVar[str] = "z_plus"
    source: ClassVar[str] = "Montavon et al. 2017, doi:10.1016/j.patcog.2016.11.008, section 4.1"

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        return distribute(relevance, site.contributions(a, self.bias).positive(), self.stabilizer)

    @override
    def in_sums(self) -> InSums:
        return InSums(stabilizer=self.stabilizer)


@dataclass(frozen=True)
class ZBox(Rule):
    """The z^B rule for pixels: ``z_jk = x_j w_jk - l_j max(0, w_jk) - h_j min(0, w_jk)``.

    ``l`` and ``h`` are the smallest and the largest value of the pixel's channel, black and white
    as the network's normalisation sees them. The bias takes no part.

    Attributes:
        stabilizer: added to the denominator.
    """

    stabilizer: NonNegative = 0.0

    name: ClassVar[str] = "z_box"
    is_for_pixels: ClassVar[bool] = True
    source: ClassVar[str] = "Montavon et al. 2017, doi:10.1016/j.patcog.2016.11.008, section 4.1"

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        w, (low, high) = site.layer.weight, site.pixel_bounds(a)
        box = site.products(low, w.clamp(min=0)) + site.products(high, w.clamp(max=0))
        return distribute(relevance, site.products(a, w) - box, self.stabilizer)

    @override
    def in_sums(self) -> InSums:
        return InSums(stabilizer=self.stabilizer)

    @override
    def refusal(self, site: Site) -> str | None:
        if site.reads_pixels:
            return None
        return "it is for the layer that reads the pixels; give this one another rule"


@dataclass(frozen=True)
class WSquare(Rule):
    """The w^2 rule: ``z_jk = w_jk^2``, whatever the input.

    Attributes:
        stabilizer: added to the denominator.
        bias: whether ``b_k^2`` takes its part. In the paper there is none; zennit counts it.
    """

    stabilizer: NonNegative = 0.0
    bias: bool = False

    name: ClassVar[str] = "w_square"
    is_for_pixels: ClassVar[bool] = True
    source: ClassVar[str] = "Montavon et al. 2017, doi:10.1016/j.patcog.2016.11.008, section 4.1"

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        w, b = site.layer.weight, site.layer.bias if self.bias else None
        z = site.products(torch.ones_like(a), w**2, None if b is None else b**2)
        return distribute(relevance, z, self.stabilizer)

    @override
    def in_sums(self) -> InSums:
        return InSums(evenly=True)


@dataclass(frozen=True)
class Flat(Rule):
    """The flat rule: ``z_jk = 1``, whatever input and weight.

    Attributes:
        stabilizer: added to the denominator.
    """

    stabilizer: NonNegative = 0.0

    name: ClassVar[str] = "flat"
    is_for_pixels: ClassVar[bool] = True
    source: ClassVar[str] = "Lapuschkin et al. 2019, doi:10.1038/s41467-019-08987-4, methods"

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        z = site.products(torch.ones_like(a), torch.ones_like(site.layer.weight))
        return distribute(relevance, z, self.stabilizer)

    @override
    def in_sums(self) -> InSums:
        return InSums(evenly=True)


@dataclass(frozen=True)
class Pass(Rule):
    """Relevance is handed on as it is: ``R_j = R_k`` where every output has one input."""

    name: ClassVar[str] = "pass"
    source: ClassVar[str] = "the usual treatment of element-wise activations"

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        return Shares(relevance)

    @override
    def refusal(self, site: Site) -> str | None:
        return None if site.layer.is_elementwise() else "it needs one input per output"


@dataclass(frozen=True)
class AbsZ(Rule):
    """The ``|z|`` rule for batchnorm: ``R_x = |w x| / (|w x| + |b|) R`` for ``y = w x + b``."""

    name: ClassVar[str] = "abs_z"
    source: ClassVar[str] = "Hui and Binder 2019, arXiv:1908.06534"

    @override
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        w, b = site.layer.weight, site.layer.bias
        z = site.products(a.abs(), w.abs(), None if b is None else b.abs())
        return distribute(relevance, z)

    @override
    def refusal(self, site: Site) -> str | None:
        return None if site.layer.is_elementwise() else "it is for batchnorm"

"""Zero, epsilon and gamma: in proportion to contributions of both signs."""

import torch
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.contributions import Site, stabilised
from xai_sweep.explainers.relevance.engine.fast.factors import FactorForm, Factors
from xai_sweep.explainers.relevance.engine.forms import fast
from xai_sweep.explainers.relevance.engine.quotients import (
    amount,
    may_be_zero,
    over,
    ratio,
    remainder,
)
from xai_sweep.explainers.relevance.engine.rules import Epsilon, Gamma, Zero

# Below every number that counts, and its reciprocal is still a number.
_TINY = 1e-37


@fast(Zero)
class ZeroForm(FactorForm):
    """``c_j = sum_k w_jk R_k / z_k``, which for a message ``c_k`` is the gradient."""

    def __init__(self, rule: Zero, site: Site) -> None:
        super().__init__(site, with_bias=rule.bias)
        self.biases = (self.layer.bias,)
        self.is_gradient = self.excluded_bias is None

    @override
    def factors(self, a: Tensor, z: Tensor, numerator: Tensor | None, accounts: bool) -> Factors:
        if numerator is z:
            return Factors((None,))
        factor = ratio(numerator, z)
        lost = remainder(numerator, factor, z, 0.0) if accounts else None
        return Factors((factor,), lost=lost)

    @override
    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        return self.layer.transpose(shares[0], self.layer.weight, self.site.size)


@fast(Epsilon)
class EpsilonForm(FactorForm):
    """``c_j = sum_k w_jk R_k / (z_k + epsilon sign(z_k))``."""

    def __init__(self, rule: Epsilon, site: Site) -> None:
        super().__init__(site, rule.epsilon, with_bias=rule.bias)
        self.relative = rule.relative
        self.biases = (self.layer.bias,)

    @override
    def factors(self, a: Tensor, z: Tensor, numerator: Tensor | None, accounts: bool) -> Factors:
        by = amount(self.stabilizer, self.relative, z, self.site.by_image)
        if self.site.rectified and numerator is not None:
            taken = by.masked_fill(by == torch.inf, 0) if isinstance(by, Tensor) else by
            return Factors((over(numerator, z.clamp(min=0).add_(by)),), (taken,))
        factor = over(numerator, stabilised(z, by))
        return Factors((factor,), lost=remainder(numerator, factor, z, by) if accounts else None)

    @override
    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        return self.layer.transpose(shares[0], self.layer.weight, self.site.size)


@fast(Gamma)
class GammaForm(FactorForm):
    """Contributions with the sign of ``z_k`` count ``1 + gamma`` times.

    With ``A_k`` the sum of all contributions' absolute values, those of one sign sum to
    ``(z_k + A_k) / 2`` and ``(z_k - A_k) / 2``, so ``|d_k| = (1 + gamma/2) |z_k| + gamma/2 A_k``:
    one sum more for inputs of any sign, and nothing cancels. Back go ``R / d`` along
    ``(1 + gamma/2) w`` and ``R / |d|`` along ``gamma/2 |w|``, which are one and the same fraction
    where a ReLU follows.
    """

    def __init__(self, rule: Gamma, site: Site) -> None:
        super().__init__(site, rule.stabilizer, with_bias=rule.bias)
        gamma, weight, bias = rule.gamma, self.layer.weight, self.layer.bias
        self.plain, self.absolute = (1 + gamma / 2) * weight, gamma / 2 * weight.abs()
        self.plain_share = 1 + gamma / 2
        plain_bias = None if bias is None else (1 + gamma / 2) * bias
        self.absolute_bias = None if bias is None else gamma / 2 * bias.abs()
        self.biases = (plain_bias, self.absolute_bias)
        # In front of a ReLU only what is above zero counts.
        self.above = weight + gamma * weight.clamp(min=0)
        if self.site.rectified:
            self.biases = (None if bias is None else bias + gamma * bias.clamp(min=0),)

    @override
    def factors(self, a: Tensor, z: Tensor, numerator: Tensor | None, accounts: bool) -> Factors:
        if self.site.rectified:
            d = self._above_zero(self._sum_above(a, z))
            return Factors((over(numerator, d),), (self.stabilizer,))
        size = z.abs()
        d = self._above_zero(self._absolutes(a).add_(size, alpha=self.plain_share))
        stabilizers = (0.0, self.stabilizer)
        if numerator is z:
            return Factors((size.div_(d), torch.div(z, d, out=d)), stabilizers)
        sign = torch.sign(z, out=size)
        plain = sign / d if numerator is None else (numerator / d).mul_(sign)
        lost = None
        if accounts and may_be_zero(z):
            lost = (z == 0).to(z.dtype) if numerator is None else numerator * (z == 0)
        return Factors((plain, sign.mul_(plain)), stabilizers, lost)

    @override
    def keep(self, a: Tensor) -> Tensor | None:
        return None if self.site.nonnegative else a.sign()

    @override
    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        size = self.site.size
        if kept is None and self.site.rectified:
            return self.layer.transpose(shares[0], self.above, size)
        absolute = self.layer.transpose(shares[-1], self.absolute, size)
        absolute = absolute if kept is None else absolute.mul_(kept)
        return absolute.add_(self.layer.transpose(shares[0], self.plain, size))

    def _sum_above(self, a: Tensor, z: Tensor) -> Tensor:
        """The denominator where ``z`` is above zero."""
        if self.site.nonnegative:
            return self.layer.apply(a, self.above, self.biases[0])
        return self._absolutes(a).add_(z, alpha=self.plain_share)

    def _absolutes(self, a: Tensor) -> Tensor:
        """``gamma/2 A``."""
        inputs = a if self.site.nonnegative else a.abs()
        return self.layer.apply(inputs, self.absolute, self.absolute_bias)

    def _above_zero(self, d: Tensor) -> Tensor:
        """A denominator that is above zero wherever it counts."""
        return (d.add_(self.stabilizer) if self.stabilizer else d).clamp_(min=_TINY)

"""Alpha-beta and z+: contributions of each sign apart."""

import torch
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.contributions import Site
from xai_sweep.explainers.relevance.engine.fast.factors import FactorForm, Factors
from xai_sweep.explainers.relevance.engine.forms import fast
from xai_sweep.explainers.relevance.engine.quotients import over
from xai_sweep.explainers.relevance.engine.rules import AlphaBeta, ZPlus


class _BySign(FactorForm):
    """``alpha`` times the positive contributions, less ``beta`` times the negative ones.

    The first fraction goes along positive weights for inputs above zero and along negative weights
    for those below, because there a negative weight makes a positive contribution; the second
    fraction is the other way round.
    """

    def __init__(
        self, site: Site, stabilizer: float, with_bias: bool, alpha: float, beta: float
    ) -> None:
        super().__init__(site, stabilizer, with_bias)
        weight, bias = self.layer.weight, self.layer.bias
        self.positive, self.negative = weight.clamp(min=0), weight.clamp(max=0)
        up = None if bias is None else bias.clamp(min=0)
        down = None if bias is None else bias.clamp(max=0)
        self.biases = (up, down) if beta else (up,)
        self.parts = (alpha, -beta) if beta else (alpha,)

    @override
    def factors(self, a: Tensor, z: Tensor, numerator: Tensor | None, accounts: bool) -> Factors:
        # Not one from the other and z: where one sign is rare, that would be rounding.
        sums = [self._total(a, self.positive, self.negative, self.biases[0])]
        if len(self.parts) > 1:
            sums.append(self._total(a, self.negative, self.positive, self.biases[1]))
        stabilizers = (self.stabilizer, -self.stabilizer)[: len(sums)]
        lost = None
        if accounts and not self.stabilizer:
            empty = sum(part * (d == 0) for part, d in zip(self.parts, sums, strict=True))
            lost = empty.to(z.dtype) if numerator is None else empty * numerator  # type: ignore[union-attr]
        found = [
            over(numerator, d.add_(by) if by else d.masked_fill_(d == 0, torch.inf), part)
            for d, by, part in zip(sums, stabilizers, self.parts, strict=True)
        ]
        return Factors(tuple(found), stabilizers, lost)

    @override
    def keep(self, a: Tensor) -> Tensor | None:
        return None if self.site.nonnegative else a > 0

    @override
    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        above = self._along(shares, (self.positive, self.negative))
        if kept is None:
            return above
        return above.where(kept, self._along(shares, (self.negative, self.positive)))

    def _total(self, a: Tensor, first: Tensor, second: Tensor, bias: Tensor | None) -> Tensor:
        """Sum along the first weights from inputs above zero, along the second from those below."""
        if self.site.nonnegative:
            return self.layer.apply(a, first, bias)
        above, below = a.clamp(min=0), a.clamp(max=0)
        return self.layer.apply(above, first, bias).add_(self.layer.apply(below, second))

    def _along(self, shares: tuple[Tensor, ...], weights: tuple[Tensor, Tensor]) -> Tensor:
        parts = [
            self.layer.transpose(share, weight, self.site.size)
            for share, weight in zip(shares, weights, strict=False)
        ]
        return parts[0] if len(parts) == 1 else parts[0].add_(parts[1])


@fast(AlphaBeta)
class AlphaBetaForm(_BySign):
    """Both signs, each in proportion to its own sum."""

    def __init__(self, rule: AlphaBeta, site: Site) -> None:
        super().__init__(site, rule.stabilizer, rule.bias, rule.alpha, rule.beta)


@fast(ZPlus)
class ZPlusForm(_BySign):
    """Positive contributions only."""

    def __init__(self, rule: ZPlus, site: Site) -> None:
        super().__init__(site, rule.stabilizer, rule.bias, 1.0, 0.0)

"""The rules for the layer at the image: z^B, w^2 and flat."""

from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.contributions import Site, stabilised
from xai_sweep.explainers.relevance.engine.fast.factors import FactorForm, Factors
from xai_sweep.explainers.relevance.engine.forms import fast
from xai_sweep.explainers.relevance.engine.layers import Conv, layout
from xai_sweep.explainers.relevance.engine.quotients import over, ratio, remainder
from xai_sweep.explainers.relevance.engine.rules import Flat, WSquare, ZBox


@fast(ZBox)
class ZBoxForm(FactorForm):
    """The bounds' part of every denominator is computed once; it does not depend on the image."""

    emits_relevance: ClassVar[bool] = True

    def __init__(self, rule: ZBox, site: Site) -> None:
        super().__init__(site, rule.stabilizer, with_bias=False)
        weight = self.layer.weight
        self.low, self.high = (bound.to(weight) for bound in site.edges())
        positive, negative = weight.clamp(min=0), weight.clamp(max=0)
        ones = weight.new_ones(1, *site.size)
        self.floor = self.layer.apply(ones * self.low, positive)
        self.floor += self.layer.apply(ones * self.high, negative)
        self.weights: tuple[Tensor, ...] = (weight, positive, negative)
        # One pass for all three where the layer lets its input channels be stacked.
        self.is_stacked = isinstance(self.layer, Conv) and self.layer.groups == 1
        if self.is_stacked:
            self.weights = (
                torch.cat(self.weights, dim=1).contiguous(memory_format=layout(weight)),
            )

    @override
    def factors(self, a: Tensor, z: Tensor, numerator: Tensor | None, accounts: bool) -> Factors:
        d, by = z - self.floor, self.stabilizer
        factor = over(numerator, stabilised(d, by)) if by else ratio(numerator, d)
        return Factors((factor,), lost=remainder(numerator, factor, d, by) if accounts else None)

    @override
    def keep(self, a: Tensor) -> Tensor | None:
        return a

    @override
    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        assert kept is not None
        sent = [self.layer.transpose(shares[0], w, self.site.size) for w in self.weights]
        plain, positive, negative = sent[0].chunk(3, dim=1) if self.is_stacked else sent
        return kept * plain - self.low * positive - self.high * negative


class _ByWeight(FactorForm):
    """``z_jk`` depends on the weight alone, so everything is known before the first image."""

    emits_relevance: ClassVar[bool] = True

    def __init__(self, site: Site, weight: Tensor, bias: Tensor | None, stabilizer: float) -> None:
        super().__init__(site, stabilizer)
        self.weight = weight
        self.biases = (bias,)
        sums = site.layer.apply(weight.new_ones(1, *site.size), weight, bias)
        self.factor = over(None, sums + stabilizer) if stabilizer else ratio(None, sums)
        self.rest = 1 - self.factor * sums

    @override
    def factors(self, a: Tensor, z: Tensor, numerator: Tensor | None, accounts: bool) -> Factors:
        factor, lost = self.factor, self.rest if accounts else None
        if numerator is not None:
            factor, lost = factor * numerator, None if lost is None else lost * numerator
        return Factors((factor,), lost=lost)

    @override
    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        return self.layer.transpose(shares[0], self.weight, self.site.size)


@fast(WSquare)
class WSquareForm(_ByWeight):
    """Squared weights."""

    def __init__(self, rule: WSquare, site: Site) -> None:
        bias = site.layer.bias if rule.bias else None
        squared = None if bias is None else bias.square()
        super().__init__(site, site.layer.weight.square(), squared, rule.stabilizer)


@fast(Flat)
class FlatForm(_ByWeight):
    """Ones."""

    def __init__(self, rule: Flat, site: Site) -> None:
        super().__init__(site, torch.ones_like(site.layer.weight), None, rule.stabilizer)

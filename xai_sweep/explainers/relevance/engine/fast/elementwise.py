"""Layers with one input per output: pass and |z|."""

from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.contributions import Site
from xai_sweep.explainers.relevance.engine.fast.factors import FactorForm, Factors
from xai_sweep.explainers.relevance.engine.forms import fast
from xai_sweep.explainers.relevance.engine.quotients import ratio
from xai_sweep.explainers.relevance.engine.rules import AbsZ, Pass


@fast(Pass)
class PassForm(FactorForm):
    """Nothing is computed."""

    emits_relevance: ClassVar[bool] = True

    def __init__(self, rule: Pass, site: Site) -> None:
        super().__init__(site)

    @override
    def factors(self, a: Tensor, z: Tensor, numerator: Tensor | None, accounts: bool) -> Factors:
        return Factors((numerator,))

    @override
    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        return shares[0]


@fast(AbsZ)
class AbsZForm(FactorForm):
    """A scale and its bias by absolute values."""

    emits_relevance: ClassVar[bool] = True

    def __init__(self, rule: AbsZ, site: Site) -> None:
        super().__init__(site)
        bias = site.layer.bias
        self.size_of_bias = torch.zeros_like(site.layer.weight) if bias is None else bias.abs()

    @override
    def factors(self, a: Tensor, z: Tensor, numerator: Tensor | None, accounts: bool) -> Factors:
        scaled = self.layer.apply(a, self.layer.weight).abs_()
        factor = ratio(scaled, scaled + self.layer.along_channels(self.size_of_bias, z.dim()))
        absorbed = None
        if accounts:
            absorbed = (1 - factor) if numerator is None else (1 - factor) * numerator
        factor = factor if numerator is None else factor.mul_(numerator)
        return Factors((factor,), absorbed=absorbed)

    @override
    def send(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        return shares[0]

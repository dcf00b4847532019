"""How the rules' equations are computed, beyond shares in proportion: see `splits`."""

import torch
from torch import Tensor

from xai_sweep.explainers.relevance.engine.layers import Conv, layout
from xai_sweep.explainers.relevance.engine.splits import (
    Site,
    Split,
    Ways,
    may_be_zero,
    over,
    ratio,
    stabilised,
    unaccounted,
)


class _Signed(Split):
    """Contributions of one sign are weighted by u, those of the other by v.

    The first way goes along u for inputs above zero and along v for those below, because there a
    positive weight makes a negative contribution; the second way is the other way round.
    """

    u: Tensor
    v: Tensor

    def total(self, a: Tensor, first: Tensor, second: Tensor, bias: Tensor | None) -> Tensor:
        """Sum along the first weights from inputs above zero, along the second from those below."""
        if self.site.nonnegative:
            return self.layer.apply(a, first, bias)
        above, below = a.clamp(min=0), a.clamp(max=0)
        return self.layer.apply(above, first, bias).add_(self.layer.apply(below, second))

    def keep(self, a: Tensor) -> Tensor | None:
        """See `Split.keep`."""
        return None if self.site.nonnegative else a > 0

    def back(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        """See `Split.back`."""
        above = self._along(shares, (self.u, self.v))
        return above if kept is None else above.where(kept, self._along(shares, (self.v, self.u)))

    def _along(self, shares: tuple[Tensor, ...], weights: tuple[Tensor, Tensor]) -> Tensor:
        parts = [
            self.layer.transpose(share, weight, self.site.size)
            for share, weight in zip(shares, weights, strict=False)
        ]
        return parts[0] if len(parts) == 1 else parts[0].add_(parts[1])


class GammaSplit(Split):
    """Contributions with the sign of ``z_k`` count ``1 + gamma`` times.

    With ``A_k`` the sum of all contributions' absolute values, those of one sign sum to
    ``(z_k + A_k) / 2`` and ``(z_k - A_k) / 2``, so ``|d_k| = (1 + gamma/2) |z_k| + gamma/2 A_k``:
    one sum more for inputs of any sign, and nothing cancels. Back go ``R / d`` along
    ``(1 + gamma/2) w`` and ``R / |d|`` along ``gamma/2 |w|``, which are one and the same share
    where a ReLU follows.
    """

    def __init__(self, site: Site, gamma: float, stabilizer: float) -> None:
        super().__init__(site, stabilizer)
        weight, bias = site.layer.weight, site.layer.bias
        self.plain, self.absolute = (1 + gamma / 2) * weight, gamma / 2 * weight.abs()
        self.plain_share = 1 + gamma / 2
        plain_bias = None if bias is None else (1 + gamma / 2) * bias
        self.absolute_bias = None if bias is None else gamma / 2 * bias.abs()
        self.biases = (plain_bias, self.absolute_bias)
        # In front of a ReLU only what is above zero counts.
        self.above = weight + gamma * weight.clamp(min=0)
        if site.rectified:
            self.biases = (None if bias is None else bias + gamma * bias.clamp(min=0),)

    def ways(self, a: Tensor, z: Tensor, top: Tensor | None, accounts: bool) -> Ways:
        """See `Split.ways`."""
        if self.site.rectified:
            return Ways((over(top, self._above_zero(self._sum_above(a, z))),), (self.stabilizer,))
        size = z.abs()
        d = self._above_zero(self._absolutes(a).add_(size, alpha=self.plain_share))
        tolls = (0.0, self.stabilizer)
        if top is z:
            return Ways((size.div_(d), torch.div(z, d, out=d)), tolls)
        sign = torch.sign(z, out=size)
        plain = sign / d if top is None else (top / d).mul_(sign)
        lost = None
        if accounts and may_be_zero(z):
            lost = (z == 0).to(z.dtype) if top is None else top * (z == 0)
        return Ways((plain, sign.mul_(plain)), tolls, lost)

    def keep(self, a: Tensor) -> Tensor | None:
        """See `Split.keep`."""
        return None if self.site.nonnegative else a.sign()

    def back(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        """See `Split.back`."""
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


# Below every number that counts, and its reciprocal is still a number.
_TINY = 1e-37


class AlphaBetaSplit(_Signed):
    """Positive and negative contributions apart, each in proportion to its own sum."""

    def __init__(self, site: Site, alpha: float, beta: float, stabilizer: float) -> None:
        super().__init__(site, stabilizer)
        bias = site.layer.bias
        self.u, self.v = site.layer.weight.clamp(min=0), site.layer.weight.clamp(max=0)
        up = None if bias is None else bias.clamp(min=0)
        down = None if bias is None else bias.clamp(max=0)
        self.biases = (up, down) if beta else (up,)
        self.parts = (alpha, -beta) if beta else (alpha,)

    def ways(self, a: Tensor, z: Tensor, top: Tensor | None, accounts: bool) -> Ways:
        """See `Split.ways`."""
        # Not one from the other and z: where one sign is rare, that would be rounding.
        sums = [self.total(a, self.u, self.v, self.biases[0])]
        if len(self.parts) > 1:
            sums.append(self.total(a, self.v, self.u, self.biases[1]))
        tolls = (self.stabilizer, -self.stabilizer)[: len(sums)]
        lost = None
        if accounts and not self.stabilizer:
            empty = sum(part * (d == 0) for part, d in zip(self.parts, sums, strict=True))
            lost = empty.to(z.dtype) if top is None else empty * top  # type: ignore[union-attr]
        ways = [
            over(top, d.add_(toll) if toll else d.masked_fill_(d == 0, torch.inf), part)
            for d, toll, part in zip(sums, tolls, self.parts, strict=True)
        ]
        return Ways(tuple(ways), tolls, lost)


class BoxSplit(Split):
    """``z_jk = x_j w_jk - l_j max(0, w_jk) - h_j min(0, w_jk)``, never negative inside the box."""

    def __init__(self, site: Site, stabilizer: float) -> None:
        super().__init__(site, stabilizer)
        weight = site.layer.weight
        shape = (-1, *[1] * (len(site.size) - 1))
        self.low, self.high = (bound.to(weight).view(shape) for bound in site.bounds)
        positive, negative = weight.clamp(min=0), weight.clamp(max=0)
        ones = weight.new_ones(1, *site.size)
        self.floor = site.layer.apply(ones * self.low, positive)
        self.floor += site.layer.apply(ones * self.high, negative)
        self.weights: tuple[Tensor, ...] = (weight, positive, negative)
        # One pass for all three where the layer lets its input channels be stacked.
        self.is_stacked = isinstance(site.layer, Conv) and site.layer.groups == 1
        if self.is_stacked:
            self.weights = (
                torch.cat(self.weights, dim=1).contiguous(memory_format=layout(weight)),
            )

    def ways(self, a: Tensor, z: Tensor, top: Tensor | None, accounts: bool) -> Ways:
        """See `Split.ways`."""
        d = z - self.floor
        way = over(top, stabilised(d, self.stabilizer)) if self.stabilizer else ratio(top, d)
        return Ways((way,), lost=unaccounted(top, way, d, self.stabilizer) if accounts else None)

    def keep(self, a: Tensor) -> Tensor | None:
        """See `Split.keep`."""
        return a

    def back(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        """See `Split.back`."""
        assert kept is not None
        ways = [self.layer.transpose(shares[0], w, self.site.size) for w in self.weights]
        plain, positive, negative = ways[0].chunk(3, dim=1) if self.is_stacked else ways
        return kept * plain - self.low * positive - self.high * negative


class EvenSplit(Split):
    """``z_jk`` is a number of the weight alone, whatever the input: its square, or 1."""

    def __init__(self, site: Site, weight: Tensor, bias: Tensor | None, stabilizer: float) -> None:
        super().__init__(site, stabilizer)
        self.weight = weight
        self.biases = (bias,)
        sums = site.layer.apply(weight.new_ones(1, *site.size), weight, bias)
        self.way = over(None, sums + stabilizer) if stabilizer else ratio(None, sums)
        self.rest = 1 - self.way * sums

    def ways(self, a: Tensor, z: Tensor, top: Tensor | None, accounts: bool) -> Ways:
        """See `Split.ways`."""
        way = self.way if top is None else self.way * top
        lost = (self.rest if top is None else self.rest * top) if accounts else None
        return Ways((way,), lost=lost)

    def back(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        """See `Split.back`."""
        return self.layer.transpose(shares[0], self.weight, self.site.size)


class PassSplit(Split):
    """``R_j = R_k``, for layers whose inputs and outputs stand one to one."""

    def ways(self, a: Tensor, z: Tensor, top: Tensor | None, accounts: bool) -> Ways:
        """See `Split.ways`."""
        return Ways((top,))

    def back(self, shares: tuple[Tensor, ...], kept: Tensor | None) -> Tensor:
        """See `Split.back`."""
        return shares[0]


class AbsoluteSplit(PassSplit):
    """``R_j = |a_j w_j| / (|a_j w_j| + |b_j|) R_j``: a scale and its bias by absolute values."""

    def ways(self, a: Tensor, z: Tensor, top: Tensor | None, accounts: bool) -> Ways:
        """See `Split.ways`."""
        bias = self.layer.bias
        if bias is None:
            return Ways((top,))
        scaled = self.layer.apply(a, self.layer.weight).abs_()
        way = ratio(scaled, scaled + self.layer.along_channels(bias.abs(), z.dim()))
        absorbed = None
        if accounts:
            absorbed = (1 - way) if top is None else (1 - way) * top
        return Ways((way if top is None else way.mul_(top),), absorbed=absorbed)

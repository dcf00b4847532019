"""Quotients in which 0 / 0 is 0, with as few new tensors as possible.

Elementwise work costs as much as convolutions on a CPU, where every new tensor is a page fault per
4 kB. So tensors that are no longer needed are written over.
"""

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from xai_sweep.explainers.relevance.engine.contributions import mean_size


def over(numerator: Tensor | None, d: Tensor, factor: float = 1.0) -> Tensor:
    """``factor numerator / d`` written over d, which is not zero; None stands for 1."""
    quotient = d.reciprocal_() if numerator is None else torch.div(numerator, d, out=d)
    return quotient if factor == 1 else quotient.mul_(factor)


def ratio(numerator: Tensor | None, d: Tensor) -> Tensor:
    """``numerator / d``, 0 where d is 0; None stands for 1."""
    return over(numerator, d.masked_fill(d == 0, torch.inf))


def amount(stabilizer: float, relative: bool, z: Tensor, by_image: bool) -> float | Tensor:
    """The stabiliser, or so many times the mean of ``|z|``, see `mean_size`.

    Where that is 0, because all is silent in an image, it is infinite: nothing is distributed.
    """
    if not relative:
        return stabilizer
    by = stabilizer * mean_size(z, by_image)
    return by.masked_fill_(by == 0, torch.inf)


def may_be_zero(d: Tensor) -> bool:
    """Whether any value is zero; yes while a graph is recorded, which must hold for all values."""
    return get_proxy_mode() is not None or bool((d == 0).any())


def remainder(
    numerator: Tensor | None, factor: Tensor, d: Tensor, stabilizer: float | Tensor
) -> Tensor | None:
    """What is left of a message's relevance after ``factor * d``; None for nothing."""
    # A sum over all neurons per target is spared where no denominator is empty, which is usual.
    is_lossy = isinstance(stabilizer, Tensor) or stabilizer or may_be_zero(d)
    return (1 if numerator is None else numerator) - factor * d if is_lossy else None

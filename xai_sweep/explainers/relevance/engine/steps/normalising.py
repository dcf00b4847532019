"""Normalisations by statistics of the image itself: layer, group, instance and RMS norm."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.steps.step import Step, received


@dataclass(frozen=True, eq=False)
class Layout:
    """What is normalised together.

    Attributes:
        shape: of the input, so that what is normalised together lies along `dims`.
        dims: these dimensions.
        weight, bias: shaped to be multiplied with the input and added to it; or None.
        eps: added to the variance.
        is_centred: whether the mean is taken off.
    """

    shape: tuple[int, ...]
    dims: tuple[int, ...]
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    is_centred: bool = True


@dataclass(eq=False, kw_only=True)
class Normalise(Step):
    """Mean and bias absorb their part, the standard deviation is a constant factor.

    ``y = w (x - mean) / deviation + b``, so ``c_x = (1 - mean) (w c / deviation)``, where the mean
    is taken over what is normalised together.

    Source: Ali et al. 2022, "XAI for transformers", arXiv:2202.07304, eq. 9.

    Attributes:
        compute: the operation.
        layout: of its arguments.
    """

    compute: Callable[..., Tensor]
    layout: Callable[..., Layout]

    @property
    @override
    def emits_relevance(self) -> bool:
        return False

    @override
    def forward(self, args: Sequence[Any], kwargs: Mapping[str, Any], accounts: bool) -> Any:
        value, layout = self.compute(*args, **kwargs), self.layout(*args, **kwargs)
        rows, dims = args[0].reshape(layout.shape), layout.dims
        if layout.is_centred:
            rows = rows - rows.mean(dims, keepdim=True)
        factor = (rows.square().mean(dims, keepdim=True) + layout.eps).rsqrt()
        return value, (*self.as_factor(value, accounts), factor, layout)

    @override
    def backward(self, message: Message, kept: Any, ledger: Ledger | None) -> list[Message]:
        scale, lost, factor, layout = kept
        share = received(message, scale, lost, ledger)
        if ledger is not None and layout.bias is not None:
            ledger.absorb(share, layout.bias)
        weighed = share if layout.weight is None else share * layout.weight
        rows = weighed.reshape(layout.shape) * factor
        if layout.is_centred:
            rows = rows - rows.mean(layout.dims, keepdim=True)
        return [Message(rows.reshape(share.shape), is_owned=True)]


def layer_norm(
    x: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    _cudnn: bool = True,
) -> Layout:
    """Of ``aten.layer_norm``: the last axes together."""
    return Layout(tuple(x.shape), tuple(range(-len(shape), 0)), weight, bias, eps)


def rms_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Layout:
    """Of ``aten.rms_norm``: the last axes together, without the mean."""
    small = torch.finfo(x.dtype).eps if eps is None else eps
    return Layout(tuple(x.shape), tuple(range(-len(shape), 0)), weight, None, small, False)


def group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    _cudnn: bool = True,
) -> Layout:
    """Of ``aten.group_norm``: some channels together, at all places."""
    column = [-1, *[1] * (x.dim() - 2)]
    return Layout(
        (len(x), groups, x[0].numel() // groups),
        (2,),
        None if weight is None else weight.view(column),
        None if bias is None else bias.view(column),
        eps,
    )


def instance_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    _mean: Tensor | None,
    _variance: Tensor | None,
    _use_input: bool,
    _momentum: float,
    eps: float,
    _cudnn: bool,
) -> Layout:
    """Of ``aten.instance_norm`` with the image's own statistics: every channel by itself."""
    return group_norm(x, x.shape[1], weight, bias, eps)

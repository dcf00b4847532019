"""Sparseness: how unequally relevance is shared out among the pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.metrics.base import Metric
from xai_sweep.study.view import View


@dataclass(frozen=True)
class Sparseness(Metric):
    """Gini index of the absolute relevance over the region of the counterpart's heatmap.

    With the N absolute values in ascending order, ``1 - 2 sum_k (a_k / sum(a)) (N - k + 1/2) / N``:
    0 if all are equal, ``1 - 1/N`` if all but one are zero. Undefined for a heatmap of zeros.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "sparseness",
            "Gini index of the absolute relevance over the region: 0 if all pixels have the same, "
            "towards 1 if few pixels have all of it.",
            better="higher",
            null="the heatmap is zero everywhere, or no valid pixel",
            source="Chalasani et al., ICML 2020, section 3; Hurley, Rickard, IEEE Trans. Inf. "
            "Theory 55, 2009, Gini index",
        ),
    )

    @override
    def __call__(self, view: View) -> Mapping[str, Float64[Tensor, "b k"]]:
        maps = view.pairs.a
        absolute = maps.values.abs().flatten(-2).sort(dim=-1).values
        # Pixels outside of the region are zeros in front, which count neither in a sum nor in N.
        behind = torch.arange(absolute.shape[-1], 0, -1, device=absolute.device) - 0.5
        weighted = (absolute * behind.double()).view_as(maps.values)
        whole = absolute.double().view_as(maps.values)
        # Rows first, because the rounding of a sum over everything depends on the number of maps.
        share = weighted.sum(-1).sum(-1) / (whole.sum(-1).sum(-1) * maps.count)
        return {"sparseness": torch.where(maps.is_finite, 1 - 2 * share, torch.nan)}

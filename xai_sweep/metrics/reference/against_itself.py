"""What metrics of the reference heatmap alone share."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.core.errors import InputError
from xai_sweep.metrics.base import Distance, Metric, Scale
from xai_sweep.metrics.pairs import Pairs
from xai_sweep.metrics.similarity.rmse import RMSE
from xai_sweep.study.view import View


@dataclass(frozen=True)
class AgainstItself(Metric):
    """A distance of the reference heatmap to another version of the reference heatmap.

    Attributes:
        distance: how the two are compared; on the command line the name of such a metric.
    """

    distance: Distance = field(default_factory=RMSE)

    name: ClassVar[str]
    description: ClassVar[str]
    source: ClassVar[str] = ""
    covers: ClassVar[Literal["region", "frame"]] = "frame"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        given: object = self.distance
        if not isinstance(given, Distance):
            raise InputError(
                f"{self.group}.distance", given, "must be a metric that compares two heatmaps"
            )

    @property
    @override
    def columns(self) -> tuple[Column, ...]:
        name = f"{self.distance.column.name}_{self.name}"
        column = replace(self.distance.column, name=name, description=self.description)
        return (replace(column, source=self.source or column.source),)

    @property
    @override
    def scale(self) -> Scale:
        return self.distance.scale

    @abstractmethod
    def again(self, view: View) -> Float[Tensor, "b k h w"]:
        """The other version of the reference heatmaps, which no counterpart changes."""

    @override
    def __call__(self, view: View) -> Mapping[str, Float64[Tensor, "b k"]]:
        return {self.columns[0].name: view.shared(self.of_cases)}

    def of_cases(self, view: View) -> Float64[Tensor, "b k"]:
        """The distance over the whole frame, made once for all counterparts of a case."""
        index = {id(case): at for at, case in enumerate(view.cases)}
        chosen = list(index.values())
        everywhere = torch.ones_like(view.region[:1, None])
        pairs = Pairs(self.again(view)[chosen], view.reference[chosen], everywhere)
        of_case = dict(zip(index, self.distance.between(pairs), strict=True))
        return torch.stack([of_case[id(case)] for case in view.cases])

"""What a metric is: one or more columns, computed from views."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, Literal

from jaxtyping import Float64, Num
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.columns import Column
from xai_sweep.core.parameters import Declared
from xai_sweep.metrics.pairs import Pairs
from xai_sweep.study.view import View


class Need(Enum):
    """What a metric looks at, beyond the heatmap of the counterpart; checked before any image.

    PAIR: the moved reference beside the heatmap. MODEL: the subject is asked again, which costs
    forward passes. ANNOTATION: where the object is, from the data set. MOTION: how pixels moved.
    SECOND_DRAW: heatmaps of the clean image drawn with another seed.
    """

    PAIR = "pair"
    MODEL = "model"
    ANNOTATION = "annotation"
    MOTION = "motion"
    SECOND_DRAW = "second draw"


Scale = Literal["invariant", "proportional"]


class Metric(Declared, ABC):
    """Columns computed from views. A frozen dataclass.

    The contract suite holds every metric to what it declares.

    Class attributes:
        needs: what it looks at.
        covers: which pixels of a heatmap count: those of the view's region, or the whole frame.
    """

    group: ClassVar[str] = "metric"

    needs: ClassVar[frozenset[Need]] = frozenset()
    covers: ClassVar[Literal["region", "frame"]] = "region"

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """What it gives; a class attribute where parameters do not decide it."""

    @property
    def scale(self) -> Scale:
        """What becomes of the numbers when all heatmaps are multiplied by one positive factor."""
        return "invariant"

    @abstractmethod
    def __call__(self, view: View) -> Mapping[str, Num[Tensor, "b k"]]:
        """Its columns, one number per case and target; NaN where it is undefined."""


class Distance(Metric):
    """A distance or similarity of two heatmaps: one column, from pairs alone.

    Class attributes:
        column: the one column.
    """

    column: ClassVar[Column]
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PAIR})

    @property
    @override
    def columns(self) -> tuple[Column, ...]:
        return (self.column,)

    @abstractmethod
    def between(self, pairs: Pairs) -> Float64[Tensor, "*p"]:
        """One number per pair; NaN where it is undefined."""

    @override
    def __call__(self, view: View) -> Mapping[str, Float64[Tensor, "b k"]]:
        return {self.column.name: self.between(view.pairs)}

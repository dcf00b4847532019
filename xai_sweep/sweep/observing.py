"""What a job does, for whoever wants to know: the tests, for example."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.config.cells import Cell, Curve
from xai_sweep.explainers.base import Explained
from xai_sweep.models import Classifier
from xai_sweep.study.subject import Subject


class Observer:
    """Is called while jobs of this process run; each method does nothing by default."""

    def prepared(self, classifier: Classifier) -> None:
        """The network is loaded, and the method is ready for it."""

    def computing(self, cells: Sequence[Cell]) -> None:
        """A pass over the images begins for these cells."""

    def explained(self, images: int) -> None:
        """So many images were explained at once, clean or changed."""

    def published(self, curve: Curve) -> None:
        """A curve is complete, and its table, pictures and log are written."""


_observers: list[Observer] = []


@contextmanager
def observed_by(observer: Observer) -> Iterator[Observer]:
    """Until the block ends, an observer is called too."""
    _observers.append(observer)
    try:
        yield observer
    finally:
        _observers.remove(observer)


def observers() -> tuple[Observer, ...]:
    """Those that are called now."""
    return tuple(_observers)


@dataclass(frozen=True, eq=False)
class ObservedSubject(Subject):
    """A subject whose explanations are observed."""

    @override
    def explain(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        seeds: Int64[Tensor, " b"] | None = None,
        carried: Int64[Tensor, "b h w"] | None = None,
    ) -> Explained:
        explained = super().explain(images, targets, seeds, carried)
        for observer in _observers:
            observer.explained(len(images))
        return explained

"""A view: cases beside their counterparts, both explained. All that a metric may look at."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from xai_sweep.explainers.base import Explained
from xai_sweep.metrics.pairs import Pairs
from xai_sweep.study import case as cases_
from xai_sweep.study.case import Case
from xai_sweep.study.subject import Subject
from xai_sweep.transforms.base import Counterpart, Transform
from xai_sweep.transforms.motion import Motion


@runtime_checkable
class MakeView(Protocol):
    """Makes the view of some cases beside another counterpart."""

    def __call__(
        self, transform: Transform, cases: Sequence[Case], magnitudes: Tensor, draw: int
    ) -> "View":
        """Change the cases, predict and explain them."""
        ...


@dataclass(frozen=True, eq=False)
class View:
    """Some cases, each beside its counterpart; what several metrics need is computed once.

    Attributes:
        cases: the clean images, B of them.
        transform: what was changed.
        magnitudes: by how much, ``float64[B]``.
        draw: which random instance of the change, from 0.
        counterpart: what became of the cases.
        subject: what explained the counterpart.
        logits: of the counterpart.
        targets: the K classes that were explained in it.
        explained: its heatmaps.
        region: ``bool[B, H, W]``, the pixels in which heatmaps are compared.
        make: how another view of the cases is made; None if there is no way to.
    """

    cases: tuple[Case, ...]
    transform: Transform
    magnitudes: Float64[Tensor, " b"]
    draw: int
    counterpart: Counterpart
    subject: Subject
    logits: Float64[Tensor, "b classes"]
    targets: Int64[Tensor, "b k"]
    explained: Explained
    region: Bool[Tensor, "b h w"]
    make: MakeView | None = None
    _whole: tuple["View", slice] | None = field(default=None, repr=False)
    _shared: dict[Callable[["View"], Tensor], Tensor] = field(default_factory=dict, repr=False)
    _others: dict[tuple[Transform, int], "View"] = field(default_factory=dict, repr=False)

    @property
    def motion(self) -> Motion:
        """How pixels moved."""
        return self.counterpart.motion

    @cached_property
    def images(self) -> Float[Tensor, "b c h w"]:
        """The clean images."""
        return cases_.images(self.cases)

    @cached_property
    def reference(self) -> Float[Tensor, "b k h w"]:
        """Heatmaps of the clean images, in their own place."""
        return self.shared(_reference)

    @cached_property
    def reference_targets(self) -> Int64[Tensor, "b k"]:
        """The classes that they explain."""
        return torch.stack([case.targets for case in self.cases])

    @cached_property
    def reference_logits(self) -> Float64[Tensor, "b classes"]:
        """Logits of the clean images."""
        return torch.stack([case.logits for case in self.cases])

    @cached_property
    def moved(self) -> Float[Tensor, "b k h w"]:
        """The reference heatmaps, moved along with the image."""
        return self.motion.move(self.reference)

    @cached_property
    def second(self) -> Float[Tensor, "b k h w"] | None:
        """Heatmaps of the clean images drawn with another seed; None if the method does not draw.

        They are there for metrics that need `Need.SECOND_DRAW`.
        """
        found = [case.second for case in self.cases if case.second is not None]
        return torch.stack(found) if found else None

    @cached_property
    def pairs(self) -> Pairs:
        """The counterpart's heatmaps beside the moved references, in the region."""
        return Pairs(self.explained.heatmaps, self.moved, self.region[:, None])

    def shared(self, make: Callable[["View"], Tensor]) -> Tensor:
        """What a function makes of the view, computed once for all metrics and all parts.

        One pass over all cases is faster than one for each, and motions that are equal can share
        what depends on them alone.

        Args:
            make: a function of a module, which gives a tensor ``[B, ...]`` whose entries depend on
                their own case only.
        """
        if self._whole is not None:
            whole, at = self._whole
            return whole.shared(make)[at]
        if make not in self._shared:
            self._shared[make] = make(self)
        return self._shared[make]

    def another(self, transform: Transform | None = None, draw: int | None = None) -> "View":
        """The same cases and magnitudes beside another counterpart, made once for all metrics.

        Args:
            transform: another change, for example this one with another fill; None for this one.
            draw: another random instance; None for this one.

        Raises:
            RuntimeError: the view was put together by hand.
        """
        if self._whole is not None:
            whole, at = self._whole
            return whole.another(transform, draw).part(at)
        if self.make is None:
            raise RuntimeError("a view that was put together by hand knows no other counterpart")
        chosen = self.transform if transform is None else transform
        key = chosen, self.draw if draw is None else draw
        if key not in self._others:
            self._others[key] = self.make(chosen, self.cases, self.magnitudes, key[1])
        return self._others[key]

    def parts(self, size: int) -> Iterator["View"]:
        """The same view in parts of so many cases, in order.

        One after the other, because what metrics compute stays with a part as long as it lives.
        """
        if size >= len(self.cases):
            yield self
            return
        for at in range(0, len(self.cases), size):
            yield self.part(slice(at, at + size))

    def part(self, at: slice) -> "View":
        """The same view of some of the cases."""
        return View(
            self.cases[at],
            self.transform,
            self.magnitudes[at],
            self.draw,
            self.counterpart.part(at),
            self.subject,
            self.logits[at],
            self.targets[at],
            self.explained.part(at),
            self.region[at],
            self.make,
            _whole=(self, at),
        )


def _reference(view: View) -> Float[Tensor, "b k h w"]:
    return torch.stack([case.reference for case in view.cases])

"""What a transform is: a change of the image, of the network, or of the class that is explained.

A transform is a value; by how much it changes is not part of it. Bound to a subject it makes
counterparts of cases. It knows nothing of metrics.
"""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Interval
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import Declared
from xai_sweep.models.classifier import Normalisation
from xai_sweep.study.case import Case, images, seeds
from xai_sweep.study.subject import Subject
from xai_sweep.transforms.motion import STILL, Grid, Motion, Warp


@dataclass(frozen=True)
class Parameter:
    """The native parameter of a transform, whose values are the magnitudes.

    Attributes:
        name: as it is typed, ``angle`` in ``transform.angle``.
        unit: as written on an axis.
        neutral: the value that changes nothing; None if every value changes something.
        minimum, maximum: bounds, included.
        above: a lower bound that is not itself allowed.
        is_whole: whether only whole numbers are allowed.
    """

    name: str
    unit: str
    neutral: float | int | None = 0
    minimum: float | int = -math.inf
    maximum: float | int = math.inf
    above: float | int = -math.inf
    is_whole: bool = False

    def values(self, given: Any) -> tuple[float, ...]:
        """A number, or a list of numbers, as ascending magnitudes without repeats.

        Raises:
            InputError: naming ``transform.<name>``.
        """
        key = f"transform.{self.name}"
        several = isinstance(given, Iterable) and not isinstance(given, str)
        numbers = list(given) if several else [given]
        if not all(self._allows(number) for number in numbers):
            allowed = f"must be {self._in_words()}, or a list of them [{self.unit}]"
            raise InputError(key, given, allowed)
        if not numbers:
            raise InputError(key, given, f"must hold at least one number [{self.unit}]")
        return tuple(sorted({float(number) for number in numbers}))

    def _allows(self, number: Any) -> bool:
        if isinstance(number, bool) or not isinstance(number, Real):
            return False
        # NaN, infinity and a whole number too large for a float are all beyond these bounds.
        if not -sys.float_info.max <= number <= sys.float_info.max:  # type: ignore[operator]
            return False
        value = float(number)
        is_within = self.above < value and self.minimum <= value <= self.maximum
        return is_within and (value.is_integer() or not self.is_whole)

    def _in_words(self) -> str:
        bounds = [
            f"above {self.above:g}" if self.above > -math.inf else "",
            f"of at least {self.minimum:g}" if self.minimum > -math.inf else "",
            f"of at most {self.maximum:g}" if self.maximum < math.inf else "",
        ]
        kind = "a whole number" if self.is_whole else "a number"
        return f"{kind} {' and '.join(filter(None, bounds))}".rstrip()


@dataclass(frozen=True, eq=False)
class Counterpart:
    """What a transform makes of some cases.

    Attributes:
        images: ``[B, C, H, W]`` in normalised space.
        motion: how pixels moved.
        subject: what explains the images in place of the cases' own subject; None for that one.
        targets: classes that are explained in place of the cases' own; None for those.
    """

    images: Float[Tensor, "b c h w"]
    motion: Motion = STILL
    subject: Subject | None = None
    targets: Int64[Tensor, "b k"] | None = None

    def part(self, at: slice) -> "Counterpart":
        """The counterparts of some of the cases."""
        targets = None if self.targets is None else self.targets[at]
        return Counterpart(self.images[at], self.motion.part(at), self.subject, targets)


Apply = Callable[[Sequence[Case], Float64[Tensor, " b"], int], Counterpart]
"""A bound transform: cases, the magnitude of each, and the number of the draw, from 0."""


class Transform(Declared, ABC):
    """A change whose effect on explanations is measured.

    Class attributes:
        parameter: what the magnitude is a value of.
        is_random: whether a seed decides part of the change, so that several draws make sense.
        shares_subject: whether all magnitudes are explained by one subject; otherwise the pairs of
            a batch all have the same magnitude and draw.
    """

    group: ClassVar[str] = "transform"

    parameter: ClassVar[Parameter]
    is_random: ClassVar[bool] = False
    shares_subject: ClassVar[bool] = True

    @abstractmethod
    def bind(self, subject: Subject) -> Apply:
        """The transform for cases of this subject.

        Raises:
            InputError: it cannot be done with this subject.
        """

    def motion(self, magnitudes: Float64[Tensor, " b"], size: tuple[int, int]) -> Motion:
        """How pixels of images of this height and width move; by default they stay in place."""
        return STILL


class Photometric(Transform):
    """Changes pixels in their place, so the reference heatmap is compared as it is."""

    @abstractmethod
    def pixels(
        self,
        images: Float[Tensor, "b c h w"],
        magnitudes: Float64[Tensor, " b"],
        seeds: Int64[Tensor, " b"],
        space: Normalisation,
    ) -> Float[Tensor, "b c h w"]:
        """Change each image by its own magnitude.

        Args:
            images: ``[B, C, H, W]`` in normalised space, and so is the result.
            magnitudes: in native units.
            seeds: one per image, for transforms that draw. The same seed draws the same numbers
                whatever the magnitude, so curves share their noise.
            space: the normalisation of the images.
        """

    @override
    def bind(self, subject: Subject) -> Apply:
        space = subject.classifier.normalisation

        def apply(cases: Sequence[Case], magnitudes: Tensor, draw: int) -> Counterpart:
            drawn = seeds(cases, "transform", draw)
            return Counterpart(self.pixels(images(cases), magnitudes, drawn, space))

        return apply


@dataclass(frozen=True)
class Geometric(Transform):
    """Moves pixels, and the reference heatmap with them; what comes from outside is filled.

    A subclass writes `sources` and gets everything else.

    Attributes:
        fill: what fills pixels without a source: ``mean``, the mean colour of the model's
            normalisation; ``edge``, the nearest pixel of the image; ``reflect``, the image mirrored
            at its outermost pixels; ``constant``, the grey level ``fill_value``.
        fill_value: grey level in [0, 1], for ``fill=constant``.
    """

    fill: Literal["mean", "edge", "reflect", "constant"] = "mean"
    fill_value: Annotated[float, Interval(ge=0, le=1)] = 0.5

    @abstractmethod
    def sources(
        self, magnitudes: Float64[Tensor, " b"], size: tuple[int, int], inverse: bool = False
    ) -> Float32[Tensor, "b h w 2"]:
        """Where each pixel comes from.

        Args:
            magnitudes: one per image, in native units.
            size: height and width.
            inverse: whether to give the sources of the inverse motion.

        Returns:
            (x, y) in units of half the frame, (0, 0) its centre, as `grid_sample` takes them, on
            the magnitudes' device. Each image's depend on its own magnitude alone.
        """

    @override
    def motion(self, magnitudes: Float64[Tensor, " b"], size: tuple[int, int]) -> Warp:
        return Warp(
            Grid(self.sources(magnitudes, size)),
            lambda: Grid(self.sources(magnitudes, size, inverse=True)),
        )

    @override
    def bind(self, subject: Subject) -> Apply:
        space = subject.classifier.normalisation

        def apply(cases: Sequence[Case], magnitudes: Tensor, draw: int) -> Counterpart:
            clean = images(cases)
            size = (clean.shape[-2], clean.shape[-1])
            motion = self.motion(magnitudes.to(clean.device), size)
            return Counterpart(self._filled(clean, motion, space), motion)

        return apply

    def _filled(
        self, clean: Float[Tensor, "b c h w"], motion: Warp, space: Normalisation
    ) -> Float[Tensor, "b c h w"]:
        if self.fill == "edge" or self.fill == "reflect":
            return motion.grid.resample(clean, self.fill)
        moved = motion.move(clean)  # filled with 0, which is the mean colour
        if self.fill == "constant":
            level = space.to_normalised(clean.new_full((len(space.mean), 1, 1), self.fill_value))
            covered = motion.move(torch.ones_like(clean[:, :1]))
            return level.lerp(moved, covered)
        return moved

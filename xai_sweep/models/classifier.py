"""A classifier: a network with its normalisation, preprocessing and class names."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from xai_sweep.core.errors import InputError
from xai_sweep.models.output import Link, Output
from xai_sweep.models.preprocessing import (
    Preprocess,
    check_normalisation,
    grey_picture,
    height_and_width,
    preprocessing,
)

Stochastic: TypeAlias = Literal["refuse", "allow"]


@dataclass(frozen=True)
class Normalisation:
    """The affine map between pixels in [0, 1] and the space that the network sees.

    Attributes:
        mean, std: one number per channel, in pixel units.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_pixels(self, images: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
        """Normalised images as pixels; in [0, 1] unless the image was moved out of that range."""
        return images * self._column(self.std, images) + self._column(self.mean, images)

    def to_normalised(self, pixels: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
        """Pixels in [0, 1] as the network sees them."""
        return (pixels - self._column(self.mean, pixels)) / self._column(self.std, pixels)

    @staticmethod
    def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


@dataclass(frozen=True)
class Examined:
    """What was found of a network before its first image, see `xai_sweep.models.checks`.

    Attributes:
        link: what makes probabilities of its logits: ``softmax``, or ``sigmoid`` of each.
        output: what was made of its outputs, in words.
        has_gradients: whether its logits can be differentiated.
        is_random: whether it draws random numbers, which was allowed.
        classes: how many logits there are.
    """

    link: Link = "softmax"
    output: str = "logits"
    has_gradients: bool = True
    is_random: bool = False
    classes: int = 0


@dataclass(frozen=True, eq=False)
class Classifier:
    """An image classifier: ``float32[B, C, H, W]`` in normalised space to logits ``[B, classes]``.

    Attributes:
        module: the network. It is used in evaluation mode and not changed otherwise.
        mean, std: the normalisation it was trained with, one number per channel.
        labels: class names by index; empty if unknown.
        preprocess: a picture to a normalised tensor ``float32[C, H, W]``. The picture is a Pillow
            image in RGB if the network has one or three channels, otherwise a tensor
            ``float32[C, H, W]`` in [0, 1]. By default it is resized until ``size / 0.875`` is
            covered, and the centre is cropped to ``size``.
        size: height and width of the default preprocessing, in pixels; one number for a square.
        output: what the network returns, see `xai_sweep.models.output`.
        output_key: which of several outputs holds it: an index or a name, ``logits`` or ``0.aux``.
        stochastic: whether a network may draw random numbers.
        examined: what was found of it; None before it is examined. `load` and `Subject` do that,
            and then `module` returns logits ``[B, classes]`` of two classes at least, whatever the
            network itself returns.

    Raises:
        InputError: ``mean`` and ``std`` do not have a number per channel, from 0 to 1.
    """

    module: nn.Module
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    labels: tuple[str, ...] = ()
    preprocess: Preprocess = None  # type: ignore[assignment]  # filled in below
    size: int | tuple[int, int] = 224
    output: Output = "auto"
    output_key: str | int | None = None
    stochastic: Stochastic = "refuse"
    examined: Examined | None = None
    normalisation: Normalisation = field(init=False)

    def __post_init__(self) -> None:
        check_normalisation(self.mean, self.std)
        normalisation = Normalisation(tuple(self.mean), tuple(self.std))
        object.__setattr__(self, "normalisation", normalisation)
        if cast("Preprocess | None", self.preprocess) is None:
            default = preprocessing(self.height_and_width, self.mean, self.std)
            object.__setattr__(self, "preprocess", default)

    @property
    def channels(self) -> int:
        """How many the network sees."""
        return len(self.mean)

    @property
    def height_and_width(self) -> tuple[int, int]:
        """The size of the default preprocessing, in pixels."""
        return height_and_width("model.size", self.size)

    @property
    def link(self) -> Link:
        """What makes probabilities of the logits; until it was examined, what it was given as."""
        if self.examined is not None:
            return self.examined.link
        return "sigmoid" if self.output == "sigmoid" else "softmax"

    def probabilities(self, logits: Float[Tensor, "*b classes"]) -> Float64[Tensor, "*b classes"]:
        """Of every class: they sum to 1, unless each class is there or not by itself."""
        double = logits.double()
        return double.softmax(dim=-1) if self.link == "softmax" else double.sigmoid()

    def label(self, index: int) -> str:
        """The name of a class, or its number if it has none."""
        return self.labels[index] if index < len(self.labels) else str(index)


def grey_images(classifier: Classifier) -> Float[Tensor, "2 c h w"]:
    """Two grey images, preprocessed as the classifier's images are, on the network's device."""
    height, width = classifier.height_and_width
    grey = grey_picture(np.full((2 * height, 2 * width), 127, np.uint8), classifier.channels)
    device = next(classifier.module.parameters(), torch.empty(0)).device
    return torch.stack([classifier.preprocess(grey)] * 2).to(device)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every submodule is in its own mode again."""
    modes = {part: part.training for part in module.modules()}
    with suppress(NotImplementedError):  # the mode of an exported program is part of its graph
        module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def check_targets(targets: Int64[Tensor, "b k"], classes: int) -> None:
    """Check that every target is a class of the network.

    Raises:
        InputError: one is not; names the first.
    """
    wrong = targets[(targets < 0) | (targets >= classes)]
    if wrong.numel():
        allowed = f"must be classes of the network, from 0 to {classes - 1}"
        raise InputError("targets", int(wrong[0]), allowed)

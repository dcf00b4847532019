"""A classifier: a network with its normalisation, preprocessing and class names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Float, Int64
from PIL.Image import Image, new
from torch import Tensor, nn
from torchvision.transforms import v2

from xai_sweep.core.errors import InputError

Preprocess = Callable[[Image], Float[Tensor, "c h w"]]


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


@dataclass(frozen=True, eq=False)
class Classifier:
    """An image classifier: ``float32[B, C, H, W]`` in normalised space to logits ``[B, classes]``.

    Attributes:
        module: the network. It is used in evaluation mode and not changed otherwise.
        mean, std: the normalisation it was trained with, one number per channel.
        labels: class names by index; empty if unknown.
        preprocess: Pillow image (RGB) to a normalised tensor ``float32[C, H, W]``. By default the
            shorter side is resized to ``size / 0.875`` and the centre is cropped to ``size``.
        size: height and width of the default preprocessing, in pixels.
    """

    module: nn.Module
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    labels: tuple[str, ...] = ()
    preprocess: Preprocess = None  # type: ignore[assignment]  # filled in below
    size: int = 224
    normalisation: Normalisation = field(init=False)

    def __post_init__(self) -> None:
        normalisation = Normalisation(tuple(self.mean), tuple(self.std))
        object.__setattr__(self, "normalisation", normalisation)
        if cast("Preprocess | None", self.preprocess) is None:
            default = preprocessing(self.size, round(self.size / 0.875), normalisation)
            object.__setattr__(self, "preprocess", default)

    def label(self, index: int) -> str:
        """The name of a class, or its number if it has none."""
        return self.labels[index] if index < len(self.labels) else str(index)


def preprocessing(
    size: int,
    resize: int,
    normalisation: Normalisation,
    interpolation: v2.InterpolationMode = v2.InterpolationMode.BILINEAR,
) -> Preprocess:
    """Resize the shorter side to ``resize``, crop the centre to ``size``, scale, normalise."""
    steps: Preprocess = v2.Compose(
        [
            v2.Resize(resize, interpolation=interpolation, antialias=True),
            v2.CenterCrop(size),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(normalisation.mean), list(normalisation.std)),
            v2.ToPureTensor(),
        ]
    )
    return steps


def grey_images(classifier: Classifier) -> Float[Tensor, "2 c h w"]:
    """Two grey images, preprocessed as the classifier's images are, on the network's device."""
    grey = new("RGB", (2 * classifier.size, 2 * classifier.size), (127, 127, 127))
    like = next(classifier.module.parameters(), torch.empty(0))
    return torch.stack([classifier.preprocess(grey)] * 2).to(like)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every submodule is in its own mode again."""
    modes = {part: part.training for part in module.modules()}
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

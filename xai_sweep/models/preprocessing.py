"""From a picture to what a network sees: the default preprocessing, for any number of channels.

A network of one or three channels is given photos: Pillow images in RGB. Any other is given stacks:
tensors ``float32[C, H, W]`` in [0, 1], for example of a multispectral camera.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import checked

Picture: TypeAlias = Image.Image | Tensor
# A function of either kind of picture; which one it gets follows from the channels.
Preprocess: TypeAlias = Callable[[Any], Float[Tensor, "c h w"]]

# The part of the resized image that is left by the crop, along each side.
_CROP = 0.875


def takes_photos(channels: int) -> bool:
    """Whether a network of so many channels is given Pillow images, and not stacks."""
    return channels in (1, 3)


def preprocessing(size: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> Preprocess:
    """Resize until ``size / 0.875`` is covered, crop the centre, scale to [0, 1], normalise.

    For a square that is the shorter side resized to ``size / 0.875``. A photo for one channel is
    made grey first (ITU-R 601).

    Args:
        size: height and width of the result.
        mean: of the normalisation, one number per channel.
        std: likewise.
    """
    height, width = size
    resized = (
        v2.Resize(round(height / _CROP), antialias=True)
        if height == width
        else _Covering(round(height / _CROP), round(width / _CROP))
    )
    steps: Preprocess = v2.Compose(
        [
            *([v2.Grayscale()] if len(mean) == 1 else []),
            resized,
            v2.CenterCrop([height, width]),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(mean), list(std)),
            v2.ToPureTensor(),
        ]
    )
    return steps


@dataclass(frozen=True)
class _Covering:
    """Resizes a picture to the smallest size that covers a rectangle, its proportions kept."""

    height: int
    width: int

    def __call__(self, picture: Picture) -> Picture:
        height, width = v2.functional.get_size(picture)
        scale = max(self.height / height, self.width / width)
        size = [max(self.height, round(height * scale)), max(self.width, round(width * scale))]
        resized: Picture = v2.functional.resize(picture, size, antialias=True)
        return resized


def grey_picture(levels: UInt8[np.ndarray, "h w"], channels: int) -> Picture:
    """The same grey levels in every channel, as a network of so many channels is given them."""
    if takes_photos(channels):
        return Image.fromarray(levels).convert("RGB")
    return torch.from_numpy(levels / np.float32(255)).expand(channels, -1, -1)


def numbers(key: str, given: object) -> tuple[float, ...]:
    """A list of numbers as typed on the command line.

    Raises:
        InputError: it is something else.
    """
    if isinstance(given, Sequence) and not isinstance(given, str):
        given = tuple(given)
    found: tuple[float, ...] = checked(key, given, tuple[float, ...])
    return found


def height_and_width(key: str, given: object) -> tuple[int, int]:
    """The size of a network's input, from one number for a square, or from both.

    Raises:
        InputError: it is something else.
    """
    sides = tuple(given) if isinstance(given, Sequence) else (given, given)
    if len(sides) != 2 or not all(type(side) is int and side >= 1 for side in sides):
        allowed = "must be a whole number of pixels, or height and width, [224,160] for example"
        raise InputError(key, given, allowed)
    return sides[0], sides[1]


def check_normalisation(
    mean: Sequence[float], std: Sequence[float], channels: int | None = None
) -> None:
    """Check the normalisation that a user gives.

    Raises:
        InputError: one of them does not have a number per channel, or not in units of pixels from
            0 to 1.
    """
    if channels is not None and len(mean) != channels:
        allowed = f"has {len(mean)} numbers; model.channels={channels} needs {channels}"
        raise InputError("model.mean", list(mean), allowed)
    if len(mean) != len(std) or not mean:
        allowed = f"has {len(std)} numbers, model.mean has {len(mean)}; both need one per channel"
        raise InputError("model.std", list(std), allowed)
    for key, values, fits in (
        ("model.mean", mean, all(0 <= value <= 1 for value in mean)),
        ("model.std", std, all(0 < value <= 1 for value in std)),
    ):
        if not fits:
            allowed = f"must be {'from' if key == 'model.mean' else 'above'} 0 to 1, for pixels are"
            largest = max(values)
            hint = f"; {largest:g} of 255 is {largest / 255:.4g}" if 1 < largest <= 255 else ""
            raise InputError(key, list(values), f"{allowed}{hint}")

"""Pixels kept in the range that a camera gives."""

from jaxtyping import Float
from torch import Tensor

from xai_sweep.models.classifier import Normalisation


def clipped(images: Float[Tensor, "b c h w"], space: Normalisation) -> Float[Tensor, "b c h w"]:
    """Normalised images with pixels clipped to [0, 1]; what lies within keeps its last digit."""
    # Clipped in normalised space: there and back again would round every pixel.
    black = images.new_zeros(len(space.mean), 1, 1)
    return images.clamp(space.to_normalised(black), space.to_normalised(black + 1))

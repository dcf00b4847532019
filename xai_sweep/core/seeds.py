"""Randomness is derived from what it is for, never drawn from a global stream.

The same seed, image and purpose give the same numbers in any batch, order, process or machine.
"""

import hashlib

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor


def derive(seed: int, image_id: str, purpose: str) -> int:
    """A 63-bit seed for one purpose (``"transform"``, ``"explainer"``, ...) on one image."""
    text = f"{seed}\0{image_id}\0{purpose}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


class Dice:
    """Independent streams of random numbers, one per seed, each drawn from in turn.

    On the CPU, so that a GPU sees the same numbers as a laptop, and by numpy, because torch's
    generator for the CPU takes no notice of more than 32 bits of a seed: two of 50,000 images
    would share their noise in every fourth sweep.
    """

    def __init__(self, seeds: Int64[Tensor, " b"]) -> None:
        self.streams = [np.random.Generator(np.random.Philox(seed)) for seed in seeds.tolist()]

    def normal(self, shape: tuple[int, ...]) -> Float32[Tensor, "b ..."]:
        """The next standard normal field of each stream, ``float32[B, *shape]``."""
        fields = [stream.standard_normal(shape, dtype=np.float32) for stream in self.streams]
        return torch.from_numpy(np.stack(fields))

    def uniform(self, shape: tuple[int, ...]) -> Float32[Tensor, "b ..."]:
        """The next field of each stream, uniform in [0, 1), ``float32[B, *shape]``."""
        fields = [stream.random(shape, dtype=np.float32) for stream in self.streams]
        return torch.from_numpy(np.stack(fields))


def dice_for(seeds: Int64[Tensor, " b"] | None, count: int) -> Dice:
    """Dice for so many images; without seeds each has seed 0, wherever it stands in the batch."""
    return Dice(torch.zeros(count, dtype=torch.int64) if seeds is None else seeds)


def standard_normal(seeds: Int64[Tensor, " b"], shape: tuple[int, ...]) -> Float32[Tensor, "b ..."]:
    """Independent standard normal fields, one per seed, see `Dice`.

    Args:
        seeds: ``int64[B]``.
        shape: shape of one field, without the batch axis.

    Returns:
        ``float32[B, *shape]`` on the CPU.
    """
    return Dice(seeds).normal(shape)

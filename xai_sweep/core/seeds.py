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


class RandomStreams:
    """Independent streams of random numbers, one per seed; each call takes the next of each.

    They are computed on the CPU, so that a GPU sees the same numbers as a laptop, and by numpy,
    because torch's generator for the CPU uses only 32 bits of a seed: two of 50,000 images would
    share their noise in every fourth sweep.

    Args:
        seeds: one per stream.
    """

    def __init__(self, seeds: Int64[Tensor, " b"]) -> None:
        self.generators = [np.random.Generator(np.random.Philox(seed)) for seed in seeds.tolist()]

    def normal(self, shape: tuple[int, ...]) -> Float32[Tensor, "b ..."]:
        """The next standard normal field of each stream, ``float32[B, *shape]``."""
        fields = [each.standard_normal(shape, dtype=np.float32) for each in self.generators]
        return torch.from_numpy(np.stack(fields))

    def uniform(self, shape: tuple[int, ...]) -> Float32[Tensor, "b ..."]:
        """The next field of each stream, uniform in [0, 1), ``float32[B, *shape]``."""
        fields = [each.random(shape, dtype=np.float32) for each in self.generators]
        return torch.from_numpy(np.stack(fields))


def streams_for(seeds: Int64[Tensor, " b"] | None, count: int) -> RandomStreams:
    """Streams for a batch of images; without seeds every image has seed 0.

    Args:
        seeds: one per image, or None.
        count: how many images there are.
    """
    return RandomStreams(torch.zeros(count, dtype=torch.int64) if seeds is None else seeds)


def standard_normal(seeds: Int64[Tensor, " b"], shape: tuple[int, ...]) -> Float32[Tensor, "b ..."]:
    """Independent standard normal fields, one per seed, see `RandomStreams`.

    Args:
        seeds: ``int64[B]``.
        shape: of one field, without the batch axis.

    Returns:
        ``float32[B, *shape]`` on the CPU.
    """
    return RandomStreams(seeds).normal(shape)

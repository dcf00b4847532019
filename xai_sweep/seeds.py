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


def standard_normal(seeds: Int64[Tensor, " b"], shape: tuple[int, ...]) -> Float32[Tensor, "b ..."]:
    """Independent standard normal fields, one per seed.

    Drawn on the CPU, so that a GPU sees the same noise as a laptop, and by numpy, because
    torch's generator for the CPU takes no notice of more than 32 bits of a seed: two of 50,000
    images would share their noise in every fourth sweep.

    Args:
        seeds: ``int64[B]``.
        shape: shape of one field, without the batch axis.

    Returns:
        ``float32[B, *shape]`` on the CPU.
    """
    fields = [
        np.random.Generator(np.random.Philox(seed)).standard_normal(shape, dtype=np.float32)
        for seed in seeds.tolist()
    ]
    return torch.from_numpy(np.stack(fields))

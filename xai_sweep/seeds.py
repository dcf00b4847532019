"""Randomness is derived from what it is for, never drawn from a global stream.

The same seed, image and purpose give the same numbers in any batch, order, process or machine.
"""

import hashlib

import torch
from torch import Tensor


def derive(seed: int, image_id: str, purpose: str) -> int:
    """A 63-bit seed for one purpose (``"noise"``, ``"explainer"``, ...) on one image."""
    text = f"{seed}\0{image_id}\0{purpose}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def standard_normal(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Independent standard normal fields, one per seed.

    Drawn on the CPU, so that a GPU sees the same noise as a laptop.

    Args:
        seeds: ``int64[B]``.
        shape: shape of one field, without the batch axis.

    Returns:
        ``float32[B, *shape]`` on the CPU.
    """
    generator = torch.Generator()
    return torch.stack(
        [torch.randn(shape, generator=generator.manual_seed(seed)) for seed in seeds.tolist()]
    )

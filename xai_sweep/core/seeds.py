"""Randomness is derived from what it is for, never drawn from a global stream.

The same seed, image and purpose give the same numbers in any batch, order, process or machine.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def seeded_globally(seed: int, pythons_seed: int | None = None) -> Iterator[None]:
    """torch's, numpy's and Python's global generators, set to a seed and then restored.

    Args:
        seed: of all three,
        pythons_seed: except for Python's, if this is given.
    """
    numpys, pythons = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=_devices()):
        torch.manual_seed(seed)
        np.random.seed([seed % 2**32, seed >> 32])
        random.seed(seed if pythons_seed is None else pythons_seed)
        try:
            yield
        finally:
            np.random.set_state(numpys)
            random.setstate(pythons)


def global_states() -> tuple[object, ...]:
    """The states of torch's and numpy's generators: equal as long as nothing was drawn.

    Without Python's, from which run-time type checkers draw.
    """
    torchs = [torch.random.get_rng_state(), *map(torch.cuda.get_rng_state, _devices())]
    numpys = np.random.get_state(legacy=False)
    drawn = numpys["state"]["key"].tobytes(), numpys["state"]["pos"], numpys["has_gauss"]
    return (*(each.numpy().tobytes() for each in torchs), *drawn)


def _devices() -> range:
    # Asking a CUDA device that nobody uses would take its memory.
    is_used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return range(torch.cuda.device_count() if is_used else 0)

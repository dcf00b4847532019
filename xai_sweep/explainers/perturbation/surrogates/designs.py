"""Which superpixels are shown in which sample.

Whether superpixel j is shown in sample i depends on the seed, i and j alone: not on how many
superpixels there are, nor on the batch or the device. So an image and its transformed copy, with
the same seed, see the same masks wherever their superpixels correspond.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Int64
from numpy.typing import NDArray
from torch import Tensor

Design: TypeAlias = Literal["bernoulli", "paired", "orthogonal"]


def masks(
    design: Design, keys: Sequence[tuple[int, int]], count: int, superpixels: int, whole_first: bool
) -> Bool[Tensor, "b n p"]:
    """Masks of several images.

    Args:
        design: how masks are drawn.
        keys: 128 bits for each image, which its masks are drawn from.
        count: N, samples.
        superpixels: P, at least as many as any of the images has.
        whole_first: whether the first sample shows everything, as in the package.

    Returns:
        ``bool[B, N, P]`` on the CPU; true where the superpixel is shown.
    """
    drawn = np.ones((len(keys), count, superpixels), dtype=bool)
    for image, key in enumerate(keys):
        generator = np.random.Generator(np.random.Philox(key=np.array(key, dtype=np.uint64)))
        drawn[image, int(whole_first) :] = DESIGNS[design](
            generator, count - int(whole_first), superpixels
        )
    return torch.from_numpy(drawn)


def _bernoulli(generator: np.random.Generator, count: int, superpixels: int) -> NDArray[np.bool_]:
    """Independent and even, as in the package."""
    # A row of bytes per superpixel, so that more superpixels only add rows.
    width = -(-count // 32) * 4
    drawn = np.frombuffer(generator.bytes(superpixels * width), dtype=np.uint8)
    bits = np.unpackbits(drawn.reshape(superpixels, width), axis=1, count=count)
    return bits.T.astype(bool)


def _paired(generator: np.random.Generator, count: int, superpixels: int) -> NDArray[np.bool_]:
    """Each mask is followed by its complement: effects of even order cancel within a pair."""
    return _with_complements(_bernoulli(generator, -(-count // 2), superpixels), count)


def _orthogonal(generator: np.random.Generator, count: int, superpixels: int) -> NDArray[np.bool_]:
    """Rows of a Hadamard matrix in random order, and their complements.

    Each superpixel takes a random column and a random sign, so every single mask is still a fair
    draw, but no two superpixels are shown together more often than apart.
    """
    pairs = -(-count // 2)
    order = 1 << (pairs - 1).bit_length()
    rows = generator.permutation(order)[:pairs]
    # Columns repeat where a round of `num_samples=auto` has fewer than there are superpixels.
    columns = np.resize(generator.permutation(order - 1) + 1, superpixels)
    signs = generator.integers(0, 2, size=superpixels)
    # Sylvester's matrix: the sign is the parity of the bits that row and column share.
    parity = np.bitwise_count(rows[:, None] & columns[None, :]) & 1
    return _with_complements((parity ^ signs).astype(bool), count)


def _with_complements(half: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    both = np.stack([half, ~half], axis=1)
    return both.reshape(2 * len(half), -1)[:count]


DESIGNS: Mapping[Design, Callable[[np.random.Generator, int, int], NDArray[np.bool_]]] = {
    "bernoulli": _bernoulli,
    "paired": _paired,
    "orthogonal": _orthogonal,
}


def independent_rows(design: Design, count: int) -> int:
    """How many samples of a design determine coefficients; a complement only repeats its mask."""
    return count if design == "bernoulli" else (count + 1) // 2


def clusters(design: Design, sizes: Sequence[int]) -> Int64[Tensor, " n"]:
    """Which samples belong together, by number, for rounds of these sizes.

    The very first sample, which shows everything, stands alone.
    """
    if design == "bernoulli":
        return torch.arange(sum(sizes))
    parts, start = [torch.zeros(1, dtype=torch.int64)], 1
    for size in (sizes[0] - 1, *sizes[1:]):
        parts.append(start + torch.arange(size) // 2)
        start += -(-size // 2)
    return torch.cat(parts)

"""Shapley values as a weighted least-squares problem, and random coalitions to estimate it from."""

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor


def shapley_values(
    coalitions: Bool[Tensor, "b n p"],
    weights: Float64[Tensor, "b n"],
    scores: Float64[Tensor, "b n k"],
    nothing: Float64[Tensor, "b k"],
    everything: Float64[Tensor, "b k"],
) -> Float64[Tensor, "b k p"]:
    """The additive model of least squared error that is exact for no player and for all players.

    From every other coalition, weighted by the Shapley kernel, these are the Shapley values
    (Lundberg and Lee 2017, theorem 2). Too few coalitions do not determine all of them; then these
    are the values of the smallest norm.

    Args:
        coalitions: which players take part in each.
        weights: of each coalition.
        scores: of each coalition, for K games.
        nothing: scores without any player.
        everything: scores with all.
    """
    z = coalitions.double()
    weighted = z * weights.unsqueeze(2)
    gram = weighted.transpose(1, 2) @ z
    right = weighted.transpose(1, 2) @ (scores - nothing[:, None])
    inverse = torch.linalg.pinv(gram, hermitian=True, rtol=1e-10)
    free, towards = inverse @ right, inverse.sum(dim=2, keepdim=True)
    # Lagrange: the values must sum to the whole difference.
    missing = (everything - nothing)[:, None] - free.sum(dim=1, keepdim=True)
    values: Tensor = (free + towards * missing / towards.sum(dim=1, keepdim=True)).transpose(1, 2)
    return values


def draw_coalitions(
    generator: np.random.Generator, count: int, players: int
) -> Bool[Tensor, "n p"]:
    """Coalitions drawn by the Shapley kernel, each followed by its complement.

    Pairs cancel effects of even order (Covert and Lee 2021, "Improving KernelSHAP", section 4).
    Coalitions have at least one player and lack at least one; drawn this way, all have the same
    weight. A single player always takes part, and gets everything.

    Args:
        generator: where the randomness comes from.
        count: how many; even.
        players: at least 1.
    """
    if players == 1:
        return torch.ones(count, 1, dtype=torch.bool)
    sizes = np.arange(1, players)
    share = 1 / (sizes * (players - sizes))
    chosen = generator.choice(sizes, size=count // 2, p=share / share.sum())
    order = generator.random((count // 2, players)).argsort(axis=1).argsort(axis=1)
    drawn = order < chosen[:, None]
    return torch.from_numpy(np.stack([drawn, ~drawn], axis=1).reshape(-1, players))

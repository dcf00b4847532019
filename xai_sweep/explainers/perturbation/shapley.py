"""Shapley values as a weighted least-squares problem, and coalitions to sample it with."""

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
    """The additive model of least squared error that is exact for nothing and for everything.

    With every coalition but these two, weighted by the Shapley kernel, these are the Shapley
    values (Lundberg and Lee 2017, theorem 2). Too few coalitions leave some of them undecided;
    then they are those of the smallest norm.

    Args:
        coalitions: which players take part.
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
    # Lagrange: the sum of the values is the difference that is to be shared out.
    missing = (everything - nothing)[:, None] - free.sum(dim=1, keepdim=True)
    values: Tensor = (free + towards * missing / towards.sum(dim=1, keepdim=True)).transpose(1, 2)
    return values


def draw_coalitions(stream: np.random.Generator, count: int, players: int) -> Bool[Tensor, "n p"]:
    """Coalitions drawn by the Shapley kernel, each followed by its complement.

    Pairs cancel what is of even order (Covert and Lee 2021, "Improving KernelSHAP", section 4).
    Of at least one player and at most all but one; so drawn, all of them weigh the same. A single
    player always takes part, and gets everything.

    Args:
        stream: where the randomness comes from.
        count: how many; even.
        players: at least 1.
    """
    if players == 1:
        return torch.ones(count, 1, dtype=torch.bool)
    sizes = np.arange(1, players)
    share = 1 / (sizes * (players - sizes))
    chosen = stream.choice(sizes, size=count // 2, p=share / share.sum())
    places = stream.random((count // 2, players)).argsort(axis=1).argsort(axis=1)
    drawn = places < chosen[:, None]
    return torch.from_numpy(np.stack([drawn, ~drawn], axis=1).reshape(-1, players))

"""What takes the place of trained weights."""

import copy
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

Distribution = Literal["normal", "permute", "reinitialise"]


@runtime_checkable
class _Initialised(Protocol):
    """A module that knows how its weights are initialised, as most of torch's do."""

    def reset_parameters(self) -> None: ...


def redrawn(
    trained: Float[Tensor, "..."], distribution: Distribution, seed: int
) -> Float[Tensor, "..."]:
    """New values for a parameter, drawn on the CPU, so that every device sees the same.

    Args:
        trained: its trained values, of any shape.
        distribution: ``permute``, its own values in another order; otherwise normal, with the mean
            and standard deviation of its own values.
        seed: what the values are drawn from.

    Returns:
        Values of the same shape, type and device. If all trained values are equal, these are too.
    """
    stream = np.random.Generator(np.random.Philox(seed))
    values = trained.detach().cpu().numpy().ravel()
    if distribution == "permute":
        drawn = stream.permutation(values)
    else:
        mean, std = values.mean(dtype=np.float64), values.std(dtype=np.float64)
        drawn = mean + std * stream.standard_normal(values.shape, dtype=np.float32)
    return torch.from_numpy(drawn).reshape(trained.shape).to(trained)


def reinitialised(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """A module's own parameters by name, as its ``reset_parameters`` initialises them.

    Empty if it has no such method. The global stream of random numbers is left alone.
    """
    if not isinstance(module, _Initialised):
        return {}
    new = copy.deepcopy(module).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        new.reset_parameters()
    return dict(new.named_parameters(recurse=False))

"""Where a classifier comes from."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from xai_sweep.models.classifier import Classifier, Stochastic
from xai_sweep.models.output import Output


@dataclass(frozen=True, kw_only=True)
class ModelSource(ABC):
    """Loads a network. Subclasses are frozen dataclasses: equal sources load equal networks.

    Attributes:
        output: what the network returns, see `xai_sweep.models.output`.
        output_key: which of several outputs holds it, an index or a name.
        stochastic: whether it may draw random numbers when it predicts.
    """

    output: Output = "auto"
    output_key: str | int | None = None
    stochastic: Stochastic = "refuse"

    # Run-time type checkers must leave the check to `__post_init__`, which names the parameter.
    __no_type_check__: ClassVar[bool] = True

    @abstractmethod
    def identity(self) -> dict[str, str]:
        """What identifies the weights, beyond the source's own fields.

        Cheap: nothing is built or downloaded, and a file is hashed once per process.

        Raises:
            InputError: the name is unknown or a file is missing.
        """

    @abstractmethod
    def load(self) -> Classifier:
        """The network, frozen and in evaluation mode; `xai_sweep.models.load` examines it.

        Raises:
            InputError: the weights are missing, unreadable, or belong to another network.
        """


def frozen(module: nn.Module) -> nn.Module:
    """The same module in evaluation mode, without parameter gradients."""
    with suppress(NotImplementedError):  # the mode of an exported program is part of its graph
        module.eval()
    for parameter in module.parameters():  # TorchScript has no `requires_grad_` of a module
        parameter.requires_grad_(False)
    return module


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed random initialisation in the block; afterwards the CPU generator is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield

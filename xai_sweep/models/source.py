"""Where a classifier comes from."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import nn

from xai_sweep.models.classifier import Classifier


class ModelSource(ABC):
    """Loads a network. Subclasses are frozen dataclasses: equal sources load equal networks."""

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
        """The network, frozen, in evaluation mode and in the ``channels_last`` memory format.

        Raises:
            InputError: the weights are missing, unreadable, or belong to another network.
        """


def frozen(module: nn.Module) -> nn.Module:
    """The same module in evaluation mode, without parameter gradients, in ``channels_last``."""
    module.eval().requires_grad_(False)
    # Small batches on a CPU run up to three times as fast in this format.
    return module.to(memory_format=torch.channels_last)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed random initialisation in the block; afterwards the CPU generator is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield

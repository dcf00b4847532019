"""Where a classifier comes from."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from xai_sweep.models.classifier import Classifier


class ModelSource(ABC):
    """A network that can be loaded. A frozen dataclass: equal sources load equal networks."""

    @abstractmethod
    def identity(self) -> dict[str, str]:
        """What decides the weights, beside the source's own fields.

        Cheap: nothing is built and nothing is downloaded; a file is hashed once per process.

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
    """The same module, made ready to be explained."""
    module.eval().requires_grad_(False)
    # Small batches on a CPU run up to three times as fast in this format.
    return module.to(memory_format=torch.channels_last)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random initialisation from a seed inside; the global CPU generator as before outside."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield

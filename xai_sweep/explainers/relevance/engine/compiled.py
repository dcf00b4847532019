"""A propagation compiled by `torch.compile`: element-wise work is fused into few kernels.

It pays where that work is a large part, as in residual networks (see docs/benchmarks.md), and only
for many images, because compiling takes half a minute. The numbers are those of the propagation up
to rounding.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from xai_sweep.explainers.relevance.engine.propagate import Propagation, Relevance


class Compiled:
    """A propagation for a fixed number of images at once; a smaller last batch is filled up.

    Args:
        propagation: the one to compile.
        batch: images at once; another number would need another compilation.
        accounts: see `Propagation`.
    """

    def __init__(self, propagation: Propagation, batch: int, accounts: bool) -> None:
        self.propagation = propagation
        self.batch = batch
        self.accounts = accounts
        self._graphs: dict[int, Callable[..., tuple[Tensor, ...]]] = {}

    @torch.no_grad()
    def __call__(
        self, images: Float[Tensor, "b c h w"], targets: Int64[Tensor, "b k"]
    ) -> Relevance:
        """As `Propagation`; compiles at the first call with this number of targets."""
        chunks = [
            self._chunk(pixels, classes)
            for pixels, classes in zip(
                torch.split(images, self.batch), torch.split(targets, self.batch), strict=True
            )
        ]
        parts = [torch.cat(parts) for parts in zip(*chunks, strict=True)]
        return Relevance(*parts[:2], *(parts[2:] if self.accounts else (None, None)))

    def _chunk(self, images: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        count = len(images)
        filled = torch.arange(self.batch, device=images.device).clamp(max=count - 1)
        images = images[filled].contiguous(memory_format=_format(images))
        targets = targets[filled]
        kind = targets.shape[1]
        if kind not in self._graphs:
            # Run once before, so that weights are prepared now and are constants of the graph.
            self._propagated(images, targets)
            # A lambda, because make_fx counts the arguments of the function's code.
            graph = make_fx(lambda x, y: self._propagated(x, y))(images, targets)
            self._graphs[kind] = torch.compile(graph, dynamic=False)
        return tuple(part[:count] for part in self._graphs[kind](images, targets))

    def _propagated(self, images: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        found = self.propagation(images, targets, self.accounts)
        parts = (found.maps, found.logits, found.absorbed, found.lost)
        return tuple(part for part in parts if part is not None)


def _format(images: Tensor) -> torch.memory_format:
    is_last = images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format

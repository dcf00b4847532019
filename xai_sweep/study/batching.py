"""How much goes to the device at once.

Explanations do not depend on their batch (see `Batching.map`), so the batch size is free to follow
what fits into memory and what is fast, even during a run.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from pytorch_lightning.utilities.memory import garbage_collection_cuda, is_oom_error

from xai_sweep.core.errors import Failure, InputError

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

# CPUs are fastest with a few images at once, and on GPUs doubling gets to large batches soon.
_START = 4
# A larger batch must be this much faster to be worth its memory.
_GAIN = 1.05


class Batching:
    """Applies a function to items in batches of a size that fits and is fast.

    Args:
        size: items per batch; None finds it: it doubles as long as items get faster by it.
            Either way it halves when memory runs out.
    """

    def __init__(self, size: int | None = None) -> None:
        self.size = _START if size is None else size
        self._searching = size is None
        self._seconds: dict[int, list[float]] = {}

    def map(
        self, work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]
    ) -> list[Result | Failure]:
        """The result of every item, in order; a `Failure` where one cannot be computed.

        Raises:
            InputError: what the user asked for cannot be done for any item.
        """
        results: list[Result | Failure] = []
        while len(results) < len(items):
            batch = items[len(results) : len(results) + self.size]
            try:
                results += self._timed(work, batch)
            except InputError:
                raise
            except Exception as error:
                if is_oom_error(error) and len(batch) > 1:
                    self._halve(len(batch))
                elif len(batch) > 1:
                    results += [self._alone(work, item) for item in batch]
                else:
                    results.append(_failure(error))
        return results

    def _timed(
        self, work: Callable[[Sequence[Item]], Sequence[Result]], batch: Sequence[Item]
    ) -> Sequence[Result]:
        start = time.perf_counter()
        results = work(batch)
        if self._searching and len(batch) == self.size:
            self._learn((time.perf_counter() - start) / len(batch))
        return results

    def _learn(self, seconds: float) -> None:
        """Try the double size, and settle where it does not pay."""
        here = self._seconds.setdefault(self.size, [])
        here.append(seconds)
        if len(here) < 2:  # the first batch of a size pays for warming up
            return
        before = self._seconds.get(self.size // 2)
        if before is not None and min(before) < _GAIN * min(here):
            self.size //= 2
            self._searching = False
        else:
            self.size *= 2

    def _halve(self, size: int) -> None:
        garbage_collection_cuda()
        self.size = size // 2
        self._searching = False
        log.warning("out of memory with %d images at once; going on with %d", size, self.size)

    def _alone(
        self, work: Callable[[Sequence[Item]], Sequence[Result]], item: Item
    ) -> Result | Failure:
        try:
            return self._timed(work, [item])[0]
        except InputError:
            raise
        except Exception as error:
            return _failure(error)


def _failure(error: Exception) -> Failure:
    return Failure(" ".join(f"{type(error).__name__}: {error}".split())[:500])

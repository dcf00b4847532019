"""Batches: order, sizes, memory that runs out, items that fail."""

from collections.abc import Sequence

import pytest
import torch

from xai_sweep.core.errors import Failure, InputError
from xai_sweep.study import batching
from xai_sweep.study.batching import Batching


class Doubling:
    """Doubles numbers, remembers how many came at once, and runs out of memory above a limit."""

    def __init__(self, limit: int = 1000, error: Exception | None = None) -> None:
        self.limit = limit
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")
        self.sizes: list[int] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.sizes.append(len(items))
        if len(items) > self.limit:
            raise self.error
        return [2 * item for item in items]


def test_results_come_in_order() -> None:
    work = Doubling()
    assert Batching(3).map(work, list(range(7))) == [0, 2, 4, 6, 8, 10, 12]
    assert work.sizes == [3, 3, 1]
    assert Batching().map(work, []) == []


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_out_of_memory_halves_the_batch_for_good(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    work, batches = Doubling(limit=2, error=error), Batching(8)
    assert batches.map(work, list(range(5))) == [0, 2, 4, 6, 8]
    assert batches.size == 2
    assert "out of memory with 5 images at once; going on with 2" in caplog.text
    work.sizes.clear()
    batches.map(work, list(range(4)))
    assert work.sizes == [2, 2]


def test_an_item_that_never_fits_is_a_failure() -> None:
    (result,) = Batching(4).map(Doubling(limit=0), [1])
    assert isinstance(result, Failure)
    assert result.error.startswith("OutOfMemoryError")


def test_one_failing_item_does_not_take_the_others_along() -> None:
    def work(items: Sequence[int]) -> list[int]:
        if 2 in items:
            raise ValueError("two\nis bad")
        return list(items)

    found = Batching(4).map(work, [0, 1, 2, 3, 4])
    assert found == [0, 1, Failure("ValueError: two is bad"), 3, 4]


def test_what_the_user_got_wrong_is_not_a_failure_of_an_image() -> None:
    def work(items: Sequence[int]) -> list[int]:
        raise InputError("ranks", 9, "must be at most 5")

    with pytest.raises(InputError):
        Batching(2).map(work, [1, 2])


@pytest.mark.parametrize("fastest", [4, 8, 32])
def test_the_size_grows_for_as_long_as_that_pays(
    fastest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def work(items: Sequence[int]) -> list[int]:
        nonlocal now
        # Each doubling up to the fastest size halves the time of an item; then it grows again.
        size = len(items)
        now += size * (1 / size if size <= fastest else size / fastest**2)
        return list(items)

    monkeypatch.setattr(batching.time, "perf_counter", lambda: now)
    batches = Batching()
    items = list(range(1000))
    assert batches.map(work, items) == items
    assert batches.size == fastest


def test_a_given_size_stays() -> None:
    batches = Batching(6)
    batches.map(Doubling(), list(range(100)))
    assert batches.size == 6

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from xai_sweep.config.cells import Cell

# A developer's own setting would turn every one-line error into a traceback.
os.environ.pop("HYDRA_FULL_ERROR", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        needs_gpu = pytest.mark.skip(reason="needs a CUDA device")
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(needs_gpu)


@pytest.fixture
def explained() -> Iterator[list[int]]:
    """Grows by the number of images whenever jobs of this process explain some."""
    from xai_sweep.sweep.observing import Observer, observed_by

    sizes: list[int] = []

    class Sizes(Observer):
        def explained(self, images: int) -> None:
            sizes.append(images)

    with observed_by(Sizes()):
        yield sizes


@pytest.fixture
def computed() -> Iterator[list["Cell"]]:
    """Grows by cells whenever jobs of this process begin a pass over the images for them."""
    from xai_sweep.sweep.observing import Observer, observed_by

    cells: list[Cell] = []

    class Cells(Observer):
        def computing(self, cells_of_a_pass: Sequence["Cell"]) -> None:
            cells.extend(cells_of_a_pass)

    with observed_by(Cells()):
        yield cells

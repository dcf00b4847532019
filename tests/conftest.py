import os

import pytest
import torch

# A developer's own setting would turn every one-line error into a traceback.
os.environ.pop("HYDRA_FULL_ERROR", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        needs_gpu = pytest.mark.skip(reason="needs a CUDA device")
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(needs_gpu)

import os
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from xai_sweep.explainers import Explained
    from xai_sweep.models import Classifier

# A developer's own setting would turn every one-line error into a traceback.
os.environ.pop("HYDRA_FULL_ERROR", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        needs_gpu = pytest.mark.skip(reason="needs a CUDA device")
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(needs_gpu)


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of images whenever Grad-CAM explains some."""
    from xai_sweep.explainers import GradCam

    sizes: list[int] = []
    explain = GradCam.explain

    def counting(
        self: GradCam, classifier: "Classifier", images: torch.Tensor, *rest: torch.Tensor
    ) -> "Explained":
        sizes.append(len(images))
        return explain(self, classifier, images, *rest)

    monkeypatch.setattr(GradCam, "explain", counting)
    return sizes

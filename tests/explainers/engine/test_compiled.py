"""A compiled propagation is the propagation, also for batches that it was not compiled for."""

import torch
from networks import network

from xai_sweep.explainers import LRP
from xai_sweep.models import Classifier


def test_a_compiled_propagation_is_the_propagation() -> None:
    classifier = Classifier(network("in_place"))
    images = torch.randn(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 3], [1, 2], [4, 0]])
    maps, accounts = LRP().bind(classifier).accounted(images, targets)
    # Three images by two at once: one full batch, and a rest that is filled up.
    compiled, of_compiled = LRP(compile=2).bind(classifier).accounted(images, targets)
    assert maps.abs().amax() > 0
    torch.testing.assert_close(compiled, maps, rtol=1e-4, atol=1e-5 * float(maps.abs().amax()))
    for name, values in accounts.items():
        torch.testing.assert_close(of_compiled[name], values, rtol=1e-4, atol=1e-5)

"""A compiled propagation is the propagation, also for batches that it was not compiled for."""

import torch
from networks import network
from relevance import propagation, relevance, shares

from xai_sweep.explainers.relevance.engine import Compiled
from xai_sweep.models import Classifier


def test_a_compiled_propagation_is_the_propagation() -> None:
    classifier = Classifier(network("in_place"))
    images = torch.randn(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 3], [1, 2], [4, 0]])
    expected = relevance(classifier, images, targets)
    # Three images by two at once: one full batch, and one that is filled up.
    compiled = Compiled(propagation(classifier, images), batch=2, accounts=True)
    found = compiled(images, targets)
    largest = float(expected.maps.abs().amax())
    assert largest > 0
    torch.testing.assert_close(found.maps, expected.maps, rtol=1e-4, atol=1e-5 * largest)
    of_compiled = shares(found)
    for name, values in shares(expected).items():
        torch.testing.assert_close(of_compiled[name], values, rtol=1e-4, atol=1e-5)

"""LRP as an explainer: what it adds to the engine."""

import torch
from networks import network
from relevance import relevance, shares
from torch.nn.functional import interpolate

from xai_sweep.explainers import LRP
from xai_sweep.models import Classifier

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
TARGETS = torch.tensor([[0, 3], [1, 2]])


def test_heatmaps_and_facts_are_those_of_the_engine() -> None:
    classifier = Classifier(network("in_place").double())
    explained = LRP().explain(classifier, IMAGES, TARGETS)
    found = relevance(classifier, IMAGES, TARGETS)
    torch.testing.assert_close(explained.heatmaps, found.maps.sum(dim=2))
    names = {"arrived": "relevance_ratio", "absorbed": "bias_share", "lost": "stabilizer_share"}
    for name, share in shares(found).items():
        torch.testing.assert_close(explained.facts[names[name]], share)


def test_the_map_of_a_layer_is_enlarged_to_the_image() -> None:
    classifier = Classifier(network("plain").double())
    heatmaps = LRP(layer="features.3").explain(classifier, IMAGES, TARGETS).heatmaps
    inner = relevance(classifier, IMAGES, TARGETS, layer="features.3").maps.sum(dim=2)
    assert inner.shape[-1] < 16
    expected = interpolate(inner, size=(16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(heatmaps, expected)

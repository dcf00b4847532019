"""Deep Taylor decomposition is a preset: against its sums, and against zennit's rules."""

import pytest
import torch
from oracles.lrp import explain
from relevance import heatmaps
from torch import Tensor, nn
from zennit.attribution import Gradient
from zennit.composites import SpecialFirstLayerMapComposite
from zennit.rules import Norm, ZBox, ZPlus
from zennit.types import AvgPool, Convolution, Linear

from xai_sweep.config.presets import preset
from xai_sweep.models import Classifier

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
MEANS, STDS = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (MEAN, STD))
LOW, HIGH = -MEANS / STDS, (1 - MEANS) / STDS
TARGETS = torch.tensor([[0], [3]])
Z_PLUS = {"rule": "z_plus", "bias": False}


@pytest.fixture(scope="module")
def net() -> nn.Sequential:
    """Convolutions, both kinds of pool, a linear head; biases of both signs, in float64."""
    layers = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in layers.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return layers.eval()


@pytest.fixture
def images() -> Tensor:
    pixels = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    return LOW + pixels * (HIGH - LOW)


def explained(net: nn.Module, images: Tensor, targets: Tensor = TARGETS) -> Tensor:
    classifier = Classifier(net, mean=MEAN, std=STD)
    return heatmaps(classifier, images, targets, rules=preset("deep_taylor"))[:, 0]


def test_it_gives_the_sums_of_its_rules(net: nn.Sequential, images: Tensor) -> None:
    rules = {0: {"rule": "z_box"}, 3: Z_PLUS, 5: {"rule": "zero"}, 7: Z_PLUS}
    bounds = (LOW.flatten(), HIGH.flatten())
    ours = explained(net, images)
    for image, target, heatmap in zip(images, TARGETS.flatten().tolist(), ours, strict=True):
        expected = explain(list(net), rules, image, target, bounds)
        torch.testing.assert_close(heatmap, expected.heatmap)
        assert expected.bias == 0


def test_zennit_gives_the_same(net: nn.Sequential, images: Tensor) -> None:
    tiny = {"stabilizer": 1e-13}
    plus = ZPlus(**tiny, zero_params="bias")
    composite = SpecialFirstLayerMapComposite(
        [(Convolution, plus), (Linear, plus), (AvgPool, Norm(**tiny))],
        [(Convolution, ZBox(LOW[None], HIGH[None], **tiny, zero_params="bias"))],
    )
    chosen = torch.nn.functional.one_hot(TARGETS[:, 0], 5)
    attributor = Gradient(net, composite, attr_output=lambda logits: logits * chosen)
    _, relevance = attributor(images.clone())
    theirs = relevance.detach().sum(dim=1)
    assert (explained(net, images) - theirs).abs().max() < 1e-9 * theirs.abs().max()


def test_it_conserves_the_logit_and_a_positive_one_has_no_negative_pixel(
    net: nn.Sequential, images: Tensor
) -> None:
    best = net(images).topk(1).indices
    maps = explained(net, images, best)
    logits = net(images).gather(1, best)[:, 0].detach()
    assert (logits > 0).all()
    torch.testing.assert_close(maps.sum(dim=(1, 2)), logits)
    assert maps.min() >= 0

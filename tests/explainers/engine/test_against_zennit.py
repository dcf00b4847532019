"""The presets named after zennit's composites give zennit's maps, in float64."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from relevance import heatmaps
from torch import Tensor, nn
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import (
    EpsilonAlpha2Beta1,
    EpsilonAlpha2Beta1Flat,
    EpsilonGammaBox,
    EpsilonPlus,
    EpsilonPlusFlat,
)
from zennit.core import Composite
from zennit.torchvision import ResNetBottleneckCanonizer

from xai_sweep.config.presets import preset
from xai_sweep.models import Classifier

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEANS, STDS = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (MEAN, STD))
LOW, HIGH = -MEANS / STDS, (1 - MEANS) / STDS  # black and white
TARGETS = torch.tensor([[3], [7]])
COMPOSITES: dict[str, Callable[..., Composite]] = {
    "epsilon_plus": EpsilonPlus,
    "epsilon_plus_flat": EpsilonPlusFlat,
    "epsilon_gamma_box": lambda **rest: EpsilonGammaBox(LOW[None], HIGH[None], **rest),
    "epsilon_alpha2_beta1": EpsilonAlpha2Beta1,
    "epsilon_alpha2_beta1_flat": EpsilonAlpha2Beta1Flat,
}


class Merge(SequentialMergeBatchNorm):
    """zennit 0.5.1 leaves ``x / sqrt(1 + eps)`` of a merged batchnorm; here nothing is left."""

    @staticmethod
    def merge_batch_norm(modules: list[nn.Module], batch_norm: nn.BatchNorm2d) -> None:
        SequentialMergeBatchNorm.merge_batch_norm(modules, batch_norm)
        batch_norm.running_var.data.fill_(1 - batch_norm.eps)


@pytest.fixture(scope="module", params=["vgg16", "vgg16_bn", "resnet50"])
def module(request: pytest.FixtureRequest) -> nn.Module:
    """A network of torchvision in float64; biases and batchnorms have random numbers, too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torchvision.models.get_model(request.param, weights=None, num_classes=10)
        for part in net.modules():
            if isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None:
                nn.init.normal_(part.bias, std=0.1)
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(std=0.2)
                part.running_var.uniform_(0.5, 2)
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias, std=0.2)
    return net.double().eval()


@pytest.fixture
def images() -> Tensor:
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).double()
    return LOW + pixels * (HIGH - LOW)


def zennit_maps(module: nn.Module, name: str, images: Tensor, targets: Tensor) -> Tensor:
    """One map per image, relevance starts as the target's logit."""
    composite = COMPOSITES[name](canonizers=[Merge(), ResNetBottleneckCanonizer()])
    chosen = torch.nn.functional.one_hot(targets, 10)
    attributor = Gradient(module, composite, attr_output=lambda logits: logits * chosen)
    _, relevance = attributor(images.clone())
    return relevance.detach().sum(dim=1)


@pytest.mark.parametrize("name", COMPOSITES)
def test_a_preset_gives_the_maps_of_its_composite(
    name: str, module: nn.Module, images: Tensor
) -> None:
    classifier = Classifier(module, mean=MEAN, std=STD)
    ours = heatmaps(classifier, images, TARGETS, rules=preset(name))[:, 0]
    theirs = zennit_maps(module, name, images, TARGETS[:, 0])
    largest = theirs.abs().amax(dim=(1, 2))
    assert (largest > 0).all()
    assert ((ours - theirs).abs().amax(dim=(1, 2)) / largest).max() < 1e-9

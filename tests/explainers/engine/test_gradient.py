"""LRP-0 is input times gradient in any network of convolutions, sums, pools and rectifiers.

Shrikumar et al. 2016, arXiv:1605.01713; Ancona et al. 2018, proposition 1. The networks are those
of torchvision and timm, with random weights and random batchnorm statistics.
"""

from functools import partial
from typing import Any

import pytest
import timm
import torch
import torchvision
from networks import randomised
from relevance import heatmaps, relevance, shares
from torch import Tensor, nn

from xai_sweep.models import Classifier

ZERO = [{"rule": "zero"}]
TARGETS = torch.tensor([[3, 0], [7, 3]])
# Where the constructor asks for it: no warning about slow initialisation, no 100 million weights.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": False, "aux_logits": False},
    "inception_v3": {"init_weights": False},
    "vgg11": {"mlp_ratio": 1 / 16},
    "vgg13_bn": {"mlp_ratio": 1 / 16},
}
# The side of the image in pixels: as small as the network takes.
TORCHVISION = {
    "alexnet": 64,
    "densenet121": 32,
    "googlenet": 64,
    "inception_v3": 75,
    "mnasnet0_5": 64,
    "regnet_x_400mf": 32,
    "resnet18": 64,
    "resnext50_32x4d": 32,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_0": 64,
    "wide_resnet50_2": 32,
}
TIMM = {
    "cspdarknet53": 32,
    "cspresnet50": 64,
    "darknet17": 64,
    "dla34": 64,
    "dla46x_c": 64,
    "hgnetv2_b0": 64,
    "hrnet_w18_small": 64,
    "inception_resnet_v2": 75,
    "repvgg_a0": 64,
    "res2net50_14w_8s": 64,
    "resnetv2_18": 64,
    "selecsls42b": 64,
    "spnasnet_100": 64,
    "tf_mobilenetv3_large_minimal_100": 64,
    "vgg11": 64,
    "vgg13_bn": 64,
    "vovnet39a": 32,
    "xception41": 48,
}
# Their paddings mirror the image, or their weights are computed from others.
UNUSUAL = {"nf_resnet26": 64, "resnetblur18": 64}
SIZES = TORCHVISION | TIMM | UNUSUAL


def network(name: str) -> nn.Module:
    """In float64, random in every weight, bias and statistic, some batchnorms with sign -1."""
    arguments = ARGUMENTS.get(name, {})
    if name in TORCHVISION:
        make = partial(torchvision.models.get_model, name, weights=None, **arguments)
    else:
        make = partial(timm.create_model, name, pretrained=False, **arguments)
    return randomised(partial(make, num_classes=10)).double()


def some_images(name: str) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, SIZES[name], SIZES[name], dtype=torch.float64, generator=generator)


def input_times_gradient(module: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """``[B, K, H, W]``, channels summed."""
    pixels = images.clone().requires_grad_()
    chosen = module(pixels).gather(1, targets)
    gradients = [
        torch.autograd.grad(column.sum(), pixels, retain_graph=True)[0]
        for column in chosen.unbind(dim=1)
    ]
    return torch.stack([(images * gradient).sum(dim=1) for gradient in gradients], dim=1)


@pytest.mark.parametrize("name", TORCHVISION | TIMM)
def test_lrp_zero_is_input_times_gradient(name: str) -> None:
    compare(name)


@pytest.mark.parametrize("name", UNUSUAL)
def test_so_is_what_has_no_rule(name: str) -> None:
    compare(name, unsupported="gradient")


def compare(name: str, **parameters: Any) -> None:
    module, images = network(name), some_images(name)
    maps = heatmaps(Classifier(module), images, TARGETS, rules=ZERO, **parameters)
    expected = input_times_gradient(module, images, TARGETS)
    largest = expected.abs().amax(dim=(2, 3))
    assert (largest > 0).all()
    assert ((maps - expected).abs().amax(dim=(2, 3)) <= 1e-6 * largest).all()


@pytest.mark.parametrize("name", ["dla46x_c", "resnet18", "vgg13_bn"])
def test_relevance_starts_at_the_networks_logit(name: str) -> None:
    module, images = network(name), some_images(name)
    found = relevance(Classifier(module), images, TARGETS, rules=ZERO)
    logits = module(images).gather(1, TARGETS).detach()
    torch.testing.assert_close(
        found.maps.sum(dim=(2, 3, 4)), shares(found)["arrived"] * logits, rtol=1e-9, atol=0
    )

"""Whole networks: targets and images do not see each other, layers within, what cannot be done."""

from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
import torchvision
from networks import network, randomised
from relevance import heatmaps, propagation, relevance
from torch import Tensor, nn

from xai_sweep.config.presets import preset
from xai_sweep.core.errors import InputError
from xai_sweep.models import Classifier

NAMES = ("resnet18", "densenet121", "mobilenet_v2", "inception_v3", "efficientnet_b0")
TARGETS = torch.tensor([[3, 0], [7, 3], [1, 9]])


@cache
def real(name: str) -> nn.Module:
    """A network of torchvision with random weights and batchnorm statistics."""
    rest = {"init_weights": False} if name == "inception_v3" else {}
    make = partial(torchvision.models.get_model, name, weights=None, num_classes=10, **rest)
    return randomised(make)


def some_images(name: str) -> Tensor:
    side = 75 if name == "inception_v3" else 64
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))


def close(found: Tensor, expected: Tensor, to: float) -> bool:
    """Within a part of each map's largest value."""
    largest = expected.abs().amax(dim=(2, 3))
    assert (largest > 0).all()
    return bool(((found - expected).abs().amax(dim=(2, 3)) <= to * largest).all())


@pytest.mark.parametrize("name", NAMES)
def test_images_and_targets_do_not_see_each_other(name: str) -> None:
    net, images = real(name), some_images(name)
    explain = partial(heatmaps, Classifier(net))
    together = explain(images, TARGETS)
    alone = torch.cat([explain(images[i : i + 1], TARGETS[i : i + 1]) for i in range(3)])
    assert close(alone, together, 1e-4)
    one_by_one = [explain(images, TARGETS[:, k : k + 1]) for k in range(2)]
    assert close(torch.cat(one_by_one, dim=1), together, 1e-5)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2"])
@pytest.mark.parametrize("rules", ["default", "epsilon_plus", "epsilon_gamma_box"])
def test_single_precision_is_enough(name: str, rules: str) -> None:
    images = some_images(name)
    single = heatmaps(Classifier(real(name)), images, TARGETS, rules=preset(rules))
    with torch.random.fork_rng():
        doubled = torchvision.models.get_model(name, weights=None, num_classes=10).double().eval()
    doubled.load_state_dict(real(name).state_dict())
    exact = partial(heatmaps, Classifier(doubled), targets=TARGETS, rules=preset(rules))
    double = exact(images.double())
    # Where denominators are all but zero, a map is sensitive to the last digit of the image
    # itself, and no arithmetic of single precision can be better than that.
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(2)).double()
    nearby = exact(images.double() * (1 + torch.finfo(torch.float32).eps * noise))
    allowed = max(1e-3 * double.norm(), 10 * (nearby - double).norm())
    assert ((single - double).norm() <= allowed).item()


@pytest.mark.parametrize("name", NAMES)
def test_fusing_leaves_the_logits(name: str) -> None:
    net, images = real(name), some_images(name)
    run = propagation(Classifier(net), images, batchnorm="fuse")
    with torch.no_grad():
        expected = net(images)
    assert (run.logits(images) - expected).abs().amax() < 1e-4 * expected.abs().amax()
    assert run.plan.unsupported == []


def test_relevance_within_the_network() -> None:
    net = torchvision.models.vgg11(weights=None, num_classes=10)
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            nn.init.zeros_(part.bias)
    net = net.double().eval()
    images = some_images("vgg11").double()
    zero = [{"rule": "zero"}]
    found = relevance(Classifier(net), images, TARGETS, rules=zero, layer="features.10").maps
    below, above = net.features[:11], net.features[11:]
    inner = below(images).detach().requires_grad_()
    logits = net.classifier(net.avgpool(above(inner)).flatten(1)).gather(1, TARGETS)
    for k in range(2):
        (gradient,) = torch.autograd.grad(logits[:, k].sum(), inner, retain_graph=True)
        torch.testing.assert_close(found[:, k], gradient * inner.detach(), rtol=1e-9, atol=1e-12)
    # Without biases the layer's relevance sums to the logit, as that of the pixels does.
    torch.testing.assert_close(found.sum(dim=(2, 3, 4)), logits.detach())


@pytest.mark.parametrize("strategy", ["fuse", "abs_z", "epsilon", "identity"])
def test_every_strategy_for_batchnorm_gives_another_map(strategy: str) -> None:
    net, images = Classifier(network("in_place")), torch.randn(3, 3, 16, 16)
    targets = torch.tensor([[0], [1], [2]])
    maps = {
        name: heatmaps(net, images, targets, rules=[{"rule": "gamma"}], batchnorm=name)
        for name in ("fuse", "abs_z", "epsilon", "identity")
    }
    mine = maps.pop(strategy)
    assert mine.isfinite().all()
    assert not any(torch.allclose(mine, other, rtol=1e-2) for other in maps.values())


class LooksAtData(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        maps = images.mean(dim=(2, 3))
        if maps.sum() > 0:  # the line that is named
            maps = -maps
        return maps


class WithoutStatistics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images)).mean(dim=(2, 3))


class AddsUp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).logcumsumexp(dim=2).mean(dim=(2, 3))


CANNOT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "control flow": (
        LooksAtData,
        r"model=LooksAtData: .*torch\.export.*test_propagation\.py, line \d+: "
        r"if maps\.sum\(\) > 0:",
    ),
    "batchnorm in training mode": (
        WithoutStatistics,
        r"model=norm: must have running statistics and be in evaluation mode",
    ),
    "an operation without a rule": (
        AddsUp,
        r"explainer=lrp: cannot pass the network itself \(aten\.logcumsumexp\.default\): "
        r".*explainer\.unsupported=gradient",
    ),
}


@pytest.mark.parametrize("case", CANNOT)
def test_what_cannot_be_explained_is_one_line(case: str) -> None:
    make, line = CANNOT[case]
    with pytest.raises(InputError, match=f"^{line}") as caught:
        propagation(Classifier(make().eval()), torch.randn(2, 3, 8, 8), rules=[{"rule": "zero"}])
    assert "\n" not in str(caught.value)


def test_on_request_the_gradient_passes_what_has_no_rule() -> None:
    net = AddsUp().double().eval()
    images, targets = torch.randn(2, 3, 8, 8).double(), torch.tensor([[0], [1]])
    run = propagation(Classifier(net), images, rules=[{"rule": "zero"}], unsupported="gradient")
    assert any("logcumsumexp" in name for name in run.plan.unsupported)
    pixels = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(pixels).gather(1, targets).sum(), pixels)
    expected = (images * gradient).sum(dim=1, keepdim=True)
    torch.testing.assert_close(run(images, targets).maps.sum(dim=2), expected)

"""Our LRP, that of other libraries and plain passes, as calls without arguments, for `lrp.py`.

Other libraries are given the rules that they can express. For four targets only the fastest is
measured, because each starts again for every target. captum hooks modules, so it has no rule for
the sums of a residual network, and none for pixels. autolrp has one rule for all convolutions.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import autolrp
import captum.attr
import timm
import torch
import torchvision
import zennit.composites
import zennit.rules
from captum.attr._utils.lrp_rules import EpsilonRule, GammaRule
from torch import Tensor, nn
from zennit.core import Composite, Hook
from zennit.torchvision import ResNetCanonizer
from zennit.types import AvgPool, Convolution

from xai_sweep.config.presets import preset
from xai_sweep.explainers import LRP
from xai_sweep.models import Classifier

GAMMA, EPSILON = 0.25, 1e-6
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FORMATS = {"default": torch.contiguous_format, "channels_last": torch.channels_last}
VGG_RULES = [
    {"position": "first", "rule": "z_box"},
    {"op": "conv", "index": "features[0:17]", "rule": "gamma", "gamma": GAMMA},
    {"op": "conv", "index": "features[17:31]", "rule": "epsilon", "epsilon": EPSILON},
    {"rule": "zero"},
]


@dataclass(frozen=True)
class Case:
    """A network, a batch, rules, and the libraries that can compute about the same."""

    what: str
    network: Callable[[], nn.Module]
    batch: int
    targets: int
    rules: list[dict[str, object]]
    peers: tuple[str, ...]


CASES = {
    "a": Case(
        "VGG16, z_box / gamma / epsilon / zero",
        lambda: torchvision.models.vgg16(weights=None),
        8,
        1,
        VGG_RULES,
        ("ours", "compiled", "gradient", "zennit", "captum", "autolrp"),
    ),
    "b": Case(
        "the same for four targets",
        lambda: torchvision.models.vgg16(weights=None),
        8,
        4,
        VGG_RULES,
        ("ours", "compiled", "gradient", "captum"),
    ),
    "c": Case(
        "ResNet50, epsilon_gamma_box",
        lambda: torchvision.models.resnet50(weights=None),
        4,
        1,
        preset("epsilon_gamma_box"),
        ("ours", "compiled", "gradient", "zennit", "autolrp"),
    ),
    "d": Case(
        "EfficientNet-Lite0, default",
        lambda: timm.create_model("tf_efficientnet_lite0"),
        8,
        1,
        preset("default"),
        ("ours", "compiled", "gradient", "autolrp"),
    ),
}

Call = Callable[[], Tensor]


def box(like: Tensor) -> tuple[Tensor, Tensor]:
    """Black and white as the network sees them."""
    mean, std = (like.new_tensor(values)[None, :, None, None] for values in (MEAN, STD))
    return -mean / std, (1 - mean) / std


def vgg_rule(context: dict[str, object], path: str, module: nn.Module) -> Hook | None:
    """`VGG_RULES` for zennit; the bounds are those of the images."""
    if isinstance(module, nn.ReLU):
        return zennit.rules.Pass()
    if isinstance(module, AvgPool):
        return zennit.rules.Norm()
    if isinstance(module, nn.Linear):
        return zennit.rules.Epsilon(1e-9)
    if not isinstance(module, Convolution):
        return None
    if path == "features.0":
        return zennit.rules.ZBox(*box(module.weight.data))
    if int(path.split(".")[1]) < 17:
        return zennit.rules.Gamma(GAMMA)
    return zennit.rules.Epsilon(EPSILON)


def forward(case: Case, module: nn.Module, images: Tensor, targets: Tensor) -> Call:
    def call() -> Tensor:
        with torch.inference_mode():
            return module(images)

    return call


def gradient(case: Case, module: nn.Module, images: Tensor, targets: Tensor) -> Call:
    """One forward pass, one backward pass per target; also how zennit is used best."""

    def call() -> Tensor:
        pixels = images.detach().requires_grad_()
        chosen = module(pixels).gather(1, targets)
        last = targets.shape[1] - 1
        maps = [
            torch.autograd.grad(chosen[:, k].sum(), pixels, retain_graph=k < last)[0].sum(dim=1)
            for k in range(last + 1)
        ]
        return torch.stack(maps, dim=1)

    return call


def zennit_call(case: Case, module: nn.Module, images: Tensor, targets: Tensor) -> Call:
    """Hooks and merged batchnorms stay on a copy of the network."""
    module = copy.deepcopy(module)
    if case.rules == preset("epsilon_gamma_box"):
        composite = zennit.composites.EpsilonGammaBox(*box(images), canonizers=[ResNetCanonizer()])
    else:
        composite = Composite(module_map=vgg_rule)
    composite.register(module)
    return gradient(case, module, images, targets)


def captum_call(case: Case, module: nn.Module, images: Tensor, targets: Tensor) -> Call:
    """On a copy, because captum changes the network; it removes the rules after every call."""
    module = copy.deepcopy(module)
    for part in module.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False

    def call() -> Tensor:
        maps = []
        for target in targets.unbind(dim=1):
            for path, part in module.named_modules():
                if isinstance(part, nn.Conv2d):
                    lower = int(path.split(".")[1]) < 17
                    part.rule = GammaRule(GAMMA) if lower else EpsilonRule(EPSILON)
            pixels = images.detach().requires_grad_()
            relevance = captum.attr.LRP(module).attribute(pixels, target=target)
            maps.append(relevance.detach().sum(dim=1))
        return torch.stack(maps, dim=1)

    return call


def autolrp_call(case: Case, module: nn.Module, images: Tensor, targets: Tensor) -> Call:
    rule = {**autolrp.BASE, "ConvolutionBackward": ("gamma", {"gamma": GAMMA})}
    config = autolrp.LRPConfig(rule=rule, eps=EPSILON)

    def call() -> Tensor:
        pixels = autolrp.tensor(images)
        chosen = module(pixels).gather(1, targets)
        maps = []
        for k in range(targets.shape[1]):
            chosen[:, k].lrp(config=config)
            maps.append(pixels.relevance.sum(dim=1))
        return torch.stack(maps, dim=1)

    return call


def ours(case: Case, module: nn.Module, images: Tensor, targets: Tensor) -> Call:
    explainer, classifier = LRP(rules=case.rules), Classifier(module, mean=MEAN, std=STD)
    return lambda: explainer.explain(classifier, images, targets).heatmaps


def compiled(case: Case, module: nn.Module, images: Tensor, targets: Tensor) -> Call:
    """Ours compiled by `torch.compile`; compilation is not measured."""
    explainer = LRP(rules=case.rules, compile=case.batch)
    classifier = Classifier(module, mean=MEAN, std=STD)
    return lambda: explainer.explain(classifier, images, targets).heatmaps


METHODS = {
    "forward": forward,
    "gradient": gradient,
    "ours": ours,
    "compiled": compiled,
    "zennit": zennit_call,
    "captum": captum_call,
    "autolrp": autolrp_call,
}


def given(case: Case, layout: str, device: str) -> tuple[nn.Module, Tensor, Tensor]:
    """The network, images with all values between black and white, and targets."""
    torch.manual_seed(0)
    module = case.network().eval().to(device, memory_format=FORMATS[layout])
    low, high = box(torch.zeros(1))
    images = low + (high - low) * torch.rand(case.batch, 3, 224, 224)
    targets = torch.randint(1000, (case.batch, case.targets))
    return module, images.to(device, memory_format=FORMATS[layout]), targets.to(device)

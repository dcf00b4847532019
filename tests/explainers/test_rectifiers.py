"""Guided backpropagation and deconvnet: which activations have their rule, and what it does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_sweep.core.errors import InputError
from xai_sweep.explainers import Captum, Deconvnet, GuidedBackprop, GuidedGradCam
from xai_sweep.models import Classifier

Function = Callable[[Tensor], Tensor]

RECTIFIERS: dict[str, Function] = {
    "relu": torch.relu,
    "relu6": F.relu6,
    "clamp": lambda x: x.clamp(min=0),
    "clamp to 6": lambda x: x.clamp(0, 6),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "max of a constant": lambda x: torch.max(torch.tensor(0.0, dtype=x.dtype), x),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "where of zeros": lambda x: torch.where(x >= 0, x, torch.zeros_like(x)),
    "mask": lambda x: x * (x > 0),
    "mask as a number": lambda x: (x > 0).to(x.dtype) * x,
    "leaky by 0": lambda x: F.leaky_relu(x, 0.0),
}
OTHERS: dict[str, Function] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "leaky": F.leaky_relu,
    "hardtanh": F.hardtanh,
    "sigmoid": torch.sigmoid,
    "hardswish": F.hardswish,
    "silu written out": lambda x: x * torch.sigmoid(x),
    "hardswish written out": lambda x: x * F.relu6(x + 3) / 6,
    "gelu written out": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
}


class Gated(nn.Module):
    """Two convolutions, each with an activation, and a gate, which is none."""

    def __init__(self, first: Function, second: Function) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.stem, self.conv = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)
        self.gate, self.head = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.second(self.conv(self.first(self.stem(images))))
        gate = torch.sigmoid(self.gate(maps.mean(dim=(2, 3))))[:, :, None, None]
        return self.head((maps * gate).mean(dim=(2, 3)))


def made(first: Function, second: Function) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Gated(first, second).double().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


TARGETS = torch.tensor([[0, 3], [1, 2]])


class Dropped(torch.autograd.Function):
    """Drops the negative parts of what arrives; then the activation's derivative follows, or 1."""

    @staticmethod
    def forward(context: Any, x: Tensor, activation: Function, with_derivative: bool) -> Tensor:
        context.save_for_backward(x)
        context.rest = activation, with_derivative
        return activation(x.detach())

    @staticmethod
    def backward(context: Any, arriving: Tensor) -> tuple[Tensor, None, None]:
        (x,), (activation, with_derivative) = context.saved_tensors, context.rest
        kept = arriving.clamp(min=0)
        if not with_derivative:
            return kept, None, None
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(activation(x), x, kept)[0], None, None


def expected(first: Function, second: Function, images: Tensor, with_derivative: bool) -> Tensor:
    """The rule at both activations."""
    ruled = (lambda x, of=each: Dropped.apply(x, of, with_derivative) for each in (first, second))
    pixels = images.clone().requires_grad_()
    picked = made(*ruled)(pixels).gather(1, TARGETS)
    gradients = [
        torch.autograd.grad(picked[:, rank].sum(), pixels, retain_graph=True)[0] for rank in (0, 1)
    ]
    return torch.stack(gradients, dim=1).sum(dim=2)


@pytest.mark.parametrize("name", RECTIFIERS)
def test_every_way_to_write_a_rectifier_counts(name: str, images: Tensor) -> None:
    classifier = Classifier(made(RECTIFIERS[name], torch.relu))
    for explainer, with_derivative in ((GuidedBackprop(), True), (Deconvnet(), False)):
        found = explainer.explain(classifier, images, TARGETS).heatmaps
        wanted = expected(RECTIFIERS[name], torch.relu, images, with_derivative)
        torch.testing.assert_close(found, wanted)
        assert explainer.prepare(classifier, images) == {"rectifiers": 2, "activations": 2}


@pytest.mark.parametrize("name", OTHERS)
def test_without_rectifiers_it_is_refused_and_smooth_is_the_rule_everywhere(
    name: str, images: Tensor
) -> None:
    classifier = Classifier(made(OTHERS[name], OTHERS[name]))
    line = r"^explainer.activations=rectifiers: none of 2 activations is a ReLU, .*, or smooth, for"
    for explainer in (GuidedBackprop(), Deconvnet(), GuidedGradCam()):
        with pytest.raises(InputError, match=line):
            explainer.prepare(classifier, images)
        with pytest.raises(InputError, match=line):
            explainer.explain(classifier, images, TARGETS)
    for explainer, with_derivative in (
        (GuidedBackprop("smooth"), True),
        (Deconvnet("smooth"), False),
    ):
        found = explainer.explain(classifier, images, TARGETS).heatmaps
        wanted = expected(OTHERS[name], OTHERS[name], images, with_derivative)
        torch.testing.assert_close(found, wanted)
        assert explainer.prepare(classifier, images) == {"rectifiers": 0, "activations": 2}


def test_how_many_of_how_many_are_rectifiers_is_said(images: Tensor) -> None:
    classifier = Classifier(made(F.silu, torch.relu))
    findings = GuidedBackprop().prepare(classifier, images)
    assert (findings["rectifiers"], findings["activations"]) == (1, 2)
    assert findings["warnings"][0].startswith("1 of 2 activations are rectifiers, the others pass")
    assert "warnings" not in GuidedBackprop("smooth").prepare(classifier, images)


def test_a_network_without_activations_is_refused(images: Tensor) -> None:
    classifier = Classifier(made(torch.clone, torch.clone))
    for explainer in (GuidedBackprop(), GuidedBackprop("smooth")):
        with pytest.raises(
            InputError, match=r"the network has no activation, .*; choose explainer=saliency$"
        ):
            explainer.prepare(classifier, images)


@pytest.mark.parametrize("method", ["GuidedBackprop", "Deconvolution"])
def test_captums_methods_are_refused_too_where_they_would_be_the_gradient(
    method: str, images: Tensor
) -> None:
    classifier = Classifier(made(F.leaky_relu, F.leaky_relu))
    with pytest.raises(InputError, match=rf"^explainer.method={method}: needs a ReLU"):
        Captum(method).explain(classifier, images, TARGETS)

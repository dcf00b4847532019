"""Where captum computes the same, ours agree; functional ReLUs, which it skips, count."""

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from networks import network

from xai_sweep.core.errors import InputError
from xai_sweep.explainers import GradCam, GuidedBackprop, Saliency
from xai_sweep.models import Classifier

TARGETS = torch.tensor([[0, 3], [4, 1], [2, 0]])


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(
        3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(5)
    )


@pytest.mark.parametrize("name", ["plain", "functional", "in_place", "gated"])
def test_saliency_is_the_gradient(name: str, images: torch.Tensor) -> None:
    module = network(name).double()
    ours = Saliency().explain(Classifier(module), images, TARGETS).heatmaps
    largest = Saliency("absolute_max").explain(Classifier(module), images, TARGETS).heatmaps
    for rank in range(2):
        pixels = images.clone().requires_grad_()
        module(pixels).gather(1, TARGETS[:, rank : rank + 1]).sum().backward()
        assert pixels.grad is not None
        torch.testing.assert_close(ours[:, rank], pixels.grad.sum(dim=1))
        torch.testing.assert_close(largest[:, rank], pixels.grad.abs().amax(dim=1))


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU")
def test_guided_backprop_agrees_with_captum_on_modules(images: torch.Tensor) -> None:
    module = network("plain").double()
    ours = GuidedBackprop().explain(Classifier(module), images, TARGETS).heatmaps
    method = captum.attr.GuidedBackprop(module)
    for rank in range(2):
        theirs = method.attribute(images.clone().requires_grad_(), target=TARGETS[:, rank])
        torch.testing.assert_close(ours[:, rank], theirs.sum(dim=1).detach())


def test_guided_backprop_sees_functional_and_reused_rectifiers(images: torch.Tensor) -> None:
    modules, functions = network("plain").double(), network("functional").double()
    functions.load_state_dict(modules.state_dict())
    guided = GuidedBackprop().explain(Classifier(modules), images, TARGETS).heatmaps
    torch.testing.assert_close(
        GuidedBackprop().explain(Classifier(functions), images, TARGETS).heatmaps, guided
    )
    gradient = Saliency().explain(Classifier(modules), images, TARGETS).heatmaps
    assert not torch.allclose(guided, gradient)


def test_guided_backprop_by_hand() -> None:
    # f(x) = -relu(x) + 2 relu(x / 2): at x = 1 the gradient is 0, and only the second path is
    # positive in the backward pass, so guided backpropagation gives 2 * 1/2 = 1.
    class Two(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (2 * F.relu(x / 2) - F.relu(x)).sum(dim=(1, 2, 3))[:, None]

    ones, first = torch.ones(2, 1, 2, 2), torch.zeros(2, 1, dtype=torch.int64)
    classifier = Classifier(Two(), mean=(0.0,), std=(1.0,))
    assert torch.equal(
        GuidedBackprop().explain(classifier, ones, first).heatmaps, torch.ones(2, 1, 2, 2)
    )
    assert torch.equal(
        Saliency().explain(classifier, ones, first).heatmaps, torch.zeros(2, 1, 2, 2)
    )


@pytest.mark.parametrize("polarity", ["evidence", "counter", "both"])
def test_grad_cam_agrees_with_captum(polarity: str, images: torch.Tensor) -> None:
    module = network("plain").double()
    ours = GradCam(polarity=polarity).explain(Classifier(module), images, TARGETS).heatmaps
    method = captum.attr.LayerGradCam(module, module.features[4])
    for rank in range(2):
        theirs = method.attribute(images, target=TARGETS[:, rank]).detach()
        if polarity == "evidence":
            theirs = theirs.clamp(min=0)
        elif polarity == "counter":
            theirs = theirs.clamp(max=0)
        enlarged = F.interpolate(theirs, size=(16, 16), mode="bilinear", align_corners=False)
        torch.testing.assert_close(ours[:, rank], enlarged[:, 0])


def test_grad_cam_takes_a_layer_by_path(images: torch.Tensor) -> None:
    module = network("plain").double()
    method = captum.attr.LayerGradCam(module, module.features[0])
    ours = (
        GradCam(layer="features.0", polarity="both")
        .explain(Classifier(module), images, TARGETS)
        .heatmaps
    )
    theirs = method.attribute(images, target=TARGETS[:, 0]).detach()
    torch.testing.assert_close(ours[:, 0], theirs[:, 0])


def test_bad_input_is_named(images: torch.Tensor) -> None:
    classifier = Classifier(network("plain").double())
    with pytest.raises(
        InputError, match=r"^explainer.layer=features.9: is no module .* features.4"
    ):
        GradCam(layer="features.9").explain(classifier, images, TARGETS)
    with pytest.raises(
        InputError, match=r"^explainer.layer=classifier: computes no map; .* features"
    ):
        GradCam(layer="classifier").explain(classifier, images, TARGETS)
    with pytest.raises(InputError, match=r"^explainer.polarity=up: must be one of evidence, co"):
        GradCam(polarity="up")
    with pytest.raises(
        InputError, match=r"^explainer.reduction=l2: must be one of sum, absolute_m"
    ):
        Saliency("l2")

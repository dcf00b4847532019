"""The captured graph computes what the module computes, which is not changed."""

import pytest
import torch
import torchvision
from networks import NETWORKS, network
from torch import nn

from xai_sweep.core.errors import InputError
from xai_sweep.graphs.capture import capture
from xai_sweep.graphs.maps import find_map
from xai_sweep.models import Classifier


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_the_same_for_any_batch_size(name: str) -> None:
    module = network(name)
    captured = capture(Classifier(module), torch.zeros(2, 3, 16, 16))
    for size in (1, 2, 7):
        images = torch.randn(size, 3, 16, 16, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            torch.testing.assert_close(captured.graph(images), module(images), rtol=0, atol=0)
    assert not any(str(node.target).endswith("_.default") for node in captured.graph.graph.nodes)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2", "vgg11"])
def test_real_architectures(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torchvision.models.get_model(name, weights=None).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    captured = capture(Classifier(module), images)
    with torch.no_grad():
        torch.testing.assert_close(captured.graph(images), module(images), rtol=0, atol=0)
    height, width = find_map(captured).layout.size
    assert height * width > 1


def test_captured_once_and_again_when_the_weights_move() -> None:
    module, images = network("in_place"), torch.zeros(3, 3, 16, 16)
    first = capture(Classifier(module), images)
    assert capture(Classifier(module), images[:1]) is first
    assert capture(Classifier(module), torch.zeros(3, 3, 20, 20)) is not first
    assert capture(Classifier(module.double()), images.double()) is not first


def test_weights_are_shared_not_copied() -> None:
    module, images = network("plain"), torch.ones(2, 3, 16, 16)
    captured = capture(Classifier(module), images)
    with torch.no_grad():
        module.classifier.bias += 1
        torch.testing.assert_close(captured.graph(images), module(images), rtol=0, atol=0)


class Branching(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.sum() > 0:
            return images.mean(dim=(2, 3))
        return images.amax(dim=(2, 3))


def test_a_network_that_looks_at_its_data_is_one_clear_line() -> None:
    with pytest.raises(InputError, match=r"^model=Branching: .*torch.export") as caught:
        capture(Classifier(Branching()), torch.zeros(2, 3, 8, 8))
    assert "\n" not in str(caught.value)

"""The captured graph computes what the module computes, which is not changed."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from networks import NETWORKS, network
from torch import Tensor, nn

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


class Overwriting(nn.Module):
    """Overwrites a half of a map, and reads the other half, or the whole, or nothing of it."""

    def __init__(self, reads: str) -> None:
        super().__init__()
        self.conv, self.reads = nn.Conv2d(3, 4, 3), reads

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        left, right = maps.chunk(2, 1)
        left = F.relu(left, inplace=True)
        rest = {"part": right, "whole": maps, "nothing": left.sigmoid()}[self.reads]
        return left.mean((2, 3)) + rest[:, :2].mean((2, 3))


def test_a_part_that_is_overwritten_and_read_again_is_refused() -> None:
    with pytest.raises(InputError, match=r"^model=the network: overwrites a part of a tensor"):
        capture(Classifier(Overwriting("whole")), torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize("reads", ["part", "nothing"])
def test_a_part_that_nothing_else_reads_may_be_overwritten(reads: str) -> None:
    net, images = Overwriting(reads).eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():  # torch refuses this where gradients are taken
        torch.testing.assert_close(capture(Classifier(net), images).graph(images), net(images))

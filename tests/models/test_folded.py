import pytest
import torch
from networks import NETWORKS, network
from torch import nn

from xai_sweep.models import Classifier, load
from xai_sweep.models.folded import folded

aten = torch.ops.aten


def images(size: int = 16) -> torch.Tensor:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_logits_are_the_same(name: str) -> None:
    module = network(name).double()
    pixels = images().double()
    graph = folded(Classifier(module), pixels)
    torch.testing.assert_close(graph(pixels), module(pixels), rtol=1e-12, atol=1e-12)
    kinds = [node.target for node in graph.graph.nodes]
    assert aten.batch_norm.default not in kinds


def test_a_real_network_has_no_batchnorm_left_and_says_the_same() -> None:
    classifier = load("efficientnet_lite0")
    pixels = images(64)
    before = {name: value.clone() for name, value in classifier.module.state_dict().items()}
    graph = folded(classifier, pixels)
    with torch.no_grad():
        torch.testing.assert_close(graph(pixels), classifier.module(pixels), rtol=1e-4, atol=1e-4)
    kinds = [node.target for node in graph.graph.nodes]
    assert aten.batch_norm.default not in kinds
    assert aten.hardtanh_.default in kinds
    assert folded(classifier, pixels) is graph
    for name, value in classifier.module.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_batchnorm_that_others_read_around_stays() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3)
            self.norm = nn.BatchNorm2d(4)
            self.other = nn.BatchNorm2d(3)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            maps = self.convolution(self.other(pixels))
            return (torch.relu(maps) + self.norm(maps).relu_()).mean(dim=(2, 3))

    module = Twice().double().eval()
    module.norm.running_mean.normal_(generator=torch.Generator().manual_seed(0))
    pixels = images().double()
    graph = folded(Classifier(module), pixels)
    torch.testing.assert_close(graph(pixels), module(pixels))
    assert [node.target for node in graph.graph.nodes].count(aten.batch_norm.default) == 2


def test_weights_that_change_are_folded_again() -> None:
    module, pixels = network("in_place"), images()
    classifier = Classifier(module)
    first = folded(classifier, pixels)(pixels)
    with torch.no_grad():
        module.get_submodule("norm").weight.mul_(2)
        again = folded(classifier, pixels)(pixels)
        assert not torch.allclose(again, first)
        torch.testing.assert_close(again, module(pixels))

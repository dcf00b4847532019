import pytest
import torch
from networks import NETWORKS, network
from torch import fx, nn

from xai_sweep.graphs.capture import capture
from xai_sweep.graphs.folded import folded, folded_at
from xai_sweep.graphs.maps import map_at
from xai_sweep.graphs.quickest import quickest
from xai_sweep.models import Classifier, load

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


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_gradients_are_the_same(name: str, in_place: bool) -> None:
    module = network(name).double()
    pixels = images().double().requires_grad_()
    with torch.inference_mode():
        graph = folded(Classifier(module), pixels, in_place)
    found, expected = (
        torch.autograd.grad(run(pixels.clone())[:, 1].sum(), pixels)[0] for run in (graph, module)
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_value_is_found_again_in_one_of_the_graphs(name: str) -> None:
    module, pixels = network(name), images()
    captured = capture(Classifier(module), pixels)
    expected = Values(captured.graph).of(pixels)
    moved = 0
    maps = [node for node in expected if map_at(captured, node)]
    for node in maps:
        graph, at = folded_at(captured, node)
        moved += graph is not captured.graph
        torch.testing.assert_close(Values(graph).of(pixels)[at], expected[node], atol=1e-5, rtol=0)
    # All but a convolution whose batchnorm was folded into it.
    assert len(maps) - moved == (name == "in_place")


class Values(fx.Interpreter):
    """What every node of a graph computes."""

    def of(self, pixels: torch.Tensor) -> dict[fx.Node, object]:
        self.found: dict[fx.Node, object] = {}
        with torch.no_grad():
            self.run(pixels)
        return self.found

    def run_node(self, n: fx.Node) -> object:
        self.found[n] = super().run_node(n)
        return self.found[n]


class Undecided(nn.Module):
    """Cannot be captured: its control flow depends on the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network("plain")

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.inner(pixels if pixels.mean() > 100 else 2 * pixels)


def test_a_network_without_a_graph_is_run_as_it_is() -> None:
    module, pixels = Undecided(), images()
    for _ in range(2):
        assert quickest(Classifier(module), pixels) is module


def test_in_double_precision_the_module_itself_is_used() -> None:
    module = network("gated").double()
    assert quickest(Classifier(module), images().double()) is module
    assert quickest(Classifier(module.float()), images()) is not module


def test_a_real_network_has_no_batchnorm_left_and_the_same_logits() -> None:
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


def test_a_batchnorm_whose_convolution_has_another_reader_stays() -> None:
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

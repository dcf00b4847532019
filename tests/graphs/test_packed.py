import pytest
import torch
from networks import NETWORKS, network
from torch import fx, nn

from xai_sweep.graphs.folded import folded
from xai_sweep.graphs.packed import can_pack, packed
from xai_sweep.graphs.quickest import quickest
from xai_sweep.models import Classifier, load

aten = torch.ops.aten
convolution = torch.ops.mkldnn._convolution_pointwise.default
FLOAT, HALF = torch.float32, torch.bfloat16
needs_half = pytest.mark.skipif(not can_pack(HALF), reason="this CPU has no bfloat16")


def images(count: int = 3, size: int = 16) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def kinds(graph: fx.GraphModule) -> list[object]:
    return [node.target for node in graph.graph.nodes]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_logits_are_the_same(name: str, layout: torch.memory_format) -> None:
    module = network(name)
    graph = packed(folded(Classifier(module), images()), images(), FLOAT)
    assert convolution in kinds(graph)
    assert aten.conv2d.default not in kinds(graph)
    with torch.no_grad():
        for count in (1, 2, 3, 7):
            pixels = images(count).contiguous(memory_format=layout)
            expected = module.double()(pixels.double()).float()
            module.float()
            torch.testing.assert_close(graph(pixels), expected, rtol=1e-5, atol=1e-5)


class Rectified(nn.Module):
    """Every rectifier that is fused, one that is not, and one whose input has another reader."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(3, 3, 3, padding=1, bias=n % 2 == 0) for n in range(7)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of three classes, of both signs."""
        functions = (
            nn.functional.relu,
            nn.functional.relu6,
            nn.functional.silu,
            nn.Hardtanh(),
            nn.Hardtanh(-0.1, 0.5),
            nn.functional.gelu,
        )
        for layer, function in zip(self.layers, functions, strict=False):
            x = x + function(layer(10 * x))
        last = self.layers[-1](x)
        return (last.relu() - 2 * last).mean(dim=(2, 3))


def test_rectifiers_are_fused_where_nothing_else_reads() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Rectified().eval()
    graph = packed(folded(Classifier(module), images()), images(), FLOAT)
    with torch.no_grad():
        torch.testing.assert_close(graph(images()), module(images()), rtol=1e-5, atol=1e-5)
    assert kinds(graph).count(convolution) == 7
    names = ("relu", "relu_", "relu6", "relu6_", "hardtanh", "hardtanh_", "silu", "silu_", "gelu")
    rectifiers = [getattr(aten, name).default for name in names]
    left = [kind for kind in kinds(graph) if kind in rectifiers]
    assert left == [aten.gelu.default, aten.relu.default]


@needs_half
def test_half_precision_is_what_autocast_makes_of_the_module() -> None:
    classifier = load("efficientnet_lite0")
    pixels = images(2, 64)
    graph = quickest(classifier, pixels, HALF)
    with torch.no_grad():
        exact = classifier.module(pixels)
        with torch.autocast("cpu", HALF):
            found, expected = graph(pixels), classifier.module(pixels)
    assert found.dtype == HALF
    off, allowed = (float((each.float() - exact).norm()) for each in (found, expected))
    assert 0 < off <= 1.5 * allowed


def test_what_is_quickest() -> None:
    classifier = Classifier(network("gated"))
    graph = folded(classifier, images())
    found = quickest(classifier, images())
    assert convolution in kinds(found)
    assert quickest(classifier, images()) is found
    assert quickest(classifier, images(), gradients=True) is graph
    assert quickest(classifier, images(), torch.float16) is graph
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
        assert quickest(classifier, images()) is graph


def test_weights_that_change_are_packed_again() -> None:
    module = network("in_place")
    classifier = Classifier(module)
    first = quickest(classifier, images())(images())
    with torch.no_grad():
        module.get_submodule("norm").weight.mul_(2)
        again = quickest(classifier, images())(images())
        assert not torch.allclose(again, first)
        torch.testing.assert_close(again, module(images()))

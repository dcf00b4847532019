"""What every explainer promises; runs over every yaml of the group."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from cheap import cheaply
from fits_first import ready
from networks import CLASSES, NETWORKS, network
from torch import nn

from xai_sweep.config.building import build
from xai_sweep.config.keys import add_schema
from xai_sweep.config.points import composed
from xai_sweep.core.errors import InputError
from xai_sweep.core.paths import CONF
from xai_sweep.explainers import Explainer
from xai_sweep.models import Classifier

add_schema()
YAMLS = sorted(path.stem for path in (CONF / "explainer").glob("*.yaml"))
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=YAMLS)
def explainer(request: pytest.FixtureRequest) -> Explainer:
    return ready(build(composed(cheaply(request.param)).explainer))


@pytest.fixture(params=NETWORKS)
def module(request: pytest.FixtureRequest) -> nn.Module:
    return network(request.param)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(3))


TARGETS = torch.tensor([[0, 1, 2], [1, 2, 3], [2, 3, 4], [4, 3, 0], [0, 4, 2]])
SEEDS = torch.arange(5)


@pytest.mark.parametrize("device", DEVICES)
def test_shape_dtype_and_values(
    explainer: Explainer, module: nn.Module, images: torch.Tensor, device: str
) -> None:
    explain = explainer.bind(Classifier(module.to(device)))
    heatmaps = explain(images.to(device), TARGETS.to(device), SEEDS)
    assert heatmaps.shape == (5, 3, 16, 16)
    assert heatmaps.dtype == torch.float32
    assert heatmaps.device.type == device
    assert not heatmaps.requires_grad
    assert heatmaps.isfinite().all()
    assert heatmaps.abs().amax() > 0
    if not explainer.is_signed:
        assert heatmaps.amin() >= 0


def test_batches_change_nothing(
    explainer: Explainer, module: nn.Module, images: torch.Tensor
) -> None:
    explain = explainer.bind(Classifier(module))
    together = explain(images, TARGETS, SEEDS)
    for size in (1, 2, 3):
        parts = zip(images.split(size), TARGETS.split(size), SEEDS.split(size), strict=True)
        apart = torch.cat([explain(*part) for part in parts])
        torch.testing.assert_close(apart, together, rtol=1e-5, atol=1e-6)


def test_several_targets_are_as_one_by_one(
    explainer: Explainer, module: nn.Module, images: torch.Tensor
) -> None:
    explain = explainer.bind(Classifier(module))
    together = explain(images, TARGETS, SEEDS)
    for rank in range(3):
        alone = explain(images, TARGETS[:, rank : rank + 1], SEEDS)
        torch.testing.assert_close(alone[:, 0], together[:, rank], rtol=1e-5, atol=1e-6)


def test_the_seed_decides_and_nothing_else(
    explainer: Explainer, module: nn.Module, images: torch.Tensor
) -> None:
    explain = explainer.bind(Classifier(module))
    before = torch.get_rng_state()
    first, again = explain(images, TARGETS, SEEDS), explain(images, TARGETS, SEEDS)
    assert torch.equal(first, again)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(explain(images, TARGETS, SEEDS + 1), first) == explainer.is_deterministic


def test_the_target_matters_where_it_is_claimed(
    explainer: Explainer, module: nn.Module, images: torch.Tensor
) -> None:
    explain = explainer.bind(Classifier(module))
    first = explain(images, torch.zeros(5, 1, dtype=torch.int64), SEEDS)
    other = explain(images, torch.ones(5, 1, dtype=torch.int64), SEEDS)
    assert torch.allclose(first, other) != explainer.is_class_sensitive


def test_double_precision_agrees(
    explainer: Explainer, module: nn.Module, images: torch.Tensor
) -> None:
    single = explainer.bind(Classifier(module))(images, TARGETS, SEEDS)
    double = explainer.bind(Classifier(module.double()))(images.double(), TARGETS, SEEDS)
    assert double.dtype == torch.float64
    assert (double - single).norm() < 1e-3 * double.norm()


def test_works_where_gradients_are_off(
    explainer: Explainer, module: nn.Module, images: torch.Tensor
) -> None:
    explain = explainer.bind(Classifier(module))
    expected = explain(images, TARGETS, SEEDS)
    with torch.no_grad():
        assert torch.equal(explain(images, TARGETS, SEEDS), expected)


def test_works_in_inference_mode(
    explainer: Explainer, module: nn.Module, images: torch.Tensor
) -> None:
    # Bound and captured inside, and given what was made inside: nothing of it knows of gradients.
    with torch.inference_mode():
        explain = explainer.bind(Classifier(module))
        heatmaps = explain(images.clone(), TARGETS.clone(), SEEDS.clone())
    torch.testing.assert_close(heatmaps, explain(images, TARGETS, SEEDS), rtol=1e-5, atol=1e-6)


class Watched:
    """Everything of a module that an explainer might leave changed."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.before = list(self._state())

    def _state(self) -> Iterator[object]:
        hooks = (
            "_forward_hooks",
            "_forward_pre_hooks",
            "_backward_hooks",
            "_backward_pre_hooks",
        )
        for part in self.module.modules():
            yield part.training
            yield [dict(part.__dict__[name]) for name in hooks]
            yield sorted(name for name in part.__dict__ if not name.startswith("__"))
            yield part.__dict__.get("inplace")
        for tensor in [*self.module.parameters(), *self.module.buffers()]:
            yield id(tensor), tensor.requires_grad, tensor.grad, tensor._version
            yield tensor.detach().clone().numpy().tobytes()

    def check(self) -> None:
        assert list(self._state()) == self.before


@pytest.mark.parametrize("mode", ["training", "evaluation", "frozen"])
def test_nothing_is_left_on_the_module(
    explainer: Explainer, module: nn.Module, images: torch.Tensor, mode: str
) -> None:
    module.train(mode == "training")
    module.requires_grad_(mode != "frozen")
    original = images.clone()
    watched = Watched(module)
    explain = explainer.bind(Classifier(module))
    heatmaps = explain(images, TARGETS, SEEDS)
    watched.check()
    assert torch.equal(images, original)
    assert not images.requires_grad
    module.eval()
    assert torch.equal(explain(images, TARGETS, SEEDS), heatmaps)


def refused(
    explainer: Explainer, error: type[Exception], match: str
) -> AbstractContextManager[object]:
    """Null explainers never ask the network, so they notice nothing; the others must."""
    return nullcontext() if explainer.is_control else pytest.raises(error, match=match)


def test_a_target_that_is_no_class_is_refused_and_nothing_is_left(
    explainer: Explainer, module: nn.Module, images: torch.Tensor
) -> None:
    module.train()
    watched = Watched(module)
    explain = explainer.bind(Classifier(module))
    for wrong in (CLASSES, -1):
        targets = TARGETS.clone()
        targets[3, 1] = wrong
        with refused(explainer, InputError, rf"^targets={wrong}: must be classes .* from 0 to 4$"):
            explain(images, targets, SEEDS)
        watched.check()


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network("plain")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.inner(images)
        raise RuntimeError("the model raised")


def test_nothing_is_left_after_a_raising_model(explainer: Explainer, images: torch.Tensor) -> None:
    module = Failing().train()
    watched = Watched(module)
    explain = explainer.bind(Classifier(module))
    with refused(explainer, Exception, "the model raised"):
        explain(images, TARGETS, SEEDS)
    watched.check()

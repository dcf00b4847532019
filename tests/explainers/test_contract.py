"""What every explainer promises: the suite runs over every yaml of the group."""

import copy
import gc
import json
import pickle
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import pytest
import torch
from cheap import cheaply
from fits_first import FitsFirst, ready
from heatmaps import heatmaps_of
from networks import CLASSES, NETWORKS, network
from torch import nn

from xai_sweep.config.building import build
from xai_sweep.config.keys import add_schema
from xai_sweep.config.points import composed
from xai_sweep.core.errors import InputError
from xai_sweep.core.paths import CONF
from xai_sweep.explainers import Explained, Explainer
from xai_sweep.models import Classifier

add_schema()
YAMLS = sorted(path.stem for path in (CONF / "explainer").glob("*.yaml"))
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@cache
def cheap(name: str) -> Explainer:
    explainer: Explainer = build(composed(cheaply(name)).explainer)
    return explainer


@cache
def known(name: str) -> Classifier:
    return Classifier(network(name))


@pytest.fixture(params=YAMLS)
def explainer(request: pytest.FixtureRequest) -> Explainer:
    return ready(cheap(request.param))


@pytest.fixture(params=NETWORKS)
def classifier(request: pytest.FixtureRequest) -> Classifier:
    """Captured once, for tests that leave the network as it is."""
    return known(request.param)


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
    classifier = Classifier(module.to(device))
    found = explainer.explain(classifier, images.to(device), TARGETS.to(device), SEEDS)
    heatmaps = found.heatmaps
    assert heatmaps.shape == (5, 3, 16, 16)
    assert heatmaps.dtype == torch.float32
    assert heatmaps.device.type == device
    assert not heatmaps.requires_grad
    assert heatmaps.isfinite().all()
    assert heatmaps.abs().amax() > 0
    if not explainer.is_signed:
        assert heatmaps.amin() >= 0
    assert list(found.facts) == [column.name for column in explainer.facts]
    for column in explainer.facts:
        values = found.facts[column.name]
        assert values.shape == (5, 3)
        assert not values.requires_grad
        assert values.is_floating_point() == (column.kind == "float64")
    if found.carried is not None:
        assert found.carried.shape == (5, 16, 16)


@pytest.mark.parametrize("name", YAMLS)
def test_what_conserves_says_how_much_arrived(name: str, images: torch.Tensor) -> None:
    explainer, classifier = ready(cheap(name)), known("plain")
    found = explainer.explain(classifier, images, TARGETS, SEEDS)
    assert ("relevance_ratio" in found.facts) == explainer.conserves
    if explainer.conserves:
        logits = classifier.module(images).detach().double().gather(1, TARGETS)
        expected = found.heatmaps.double().sum(dim=(2, 3)) / logits
        torch.testing.assert_close(found.facts["relevance_ratio"], expected, rtol=1e-4, atol=1e-5)


def same(one: Explained, other: Explained, rank: slice = slice(None)) -> None:
    """Equal up to rounding; of the other only some ranks."""
    close = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(one.heatmaps, other.heatmaps[:, rank], **close)
    for name, values in one.facts.items():
        expected = other.facts[name][:, rank]
        # Shares of a logit, which is as good as zero for some of these random networks.
        torch.testing.assert_close(values, expected, rtol=1e-3, atol=1e-4, equal_nan=True)


def test_batches_change_nothing(
    explainer: Explainer, classifier: Classifier, images: torch.Tensor
) -> None:
    together = explainer.explain(classifier, images, TARGETS, SEEDS)
    for size in (1, 2, 3):
        parts = zip(images.split(size), TARGETS.split(size), SEEDS.split(size), strict=True)
        apart = [explainer.explain(classifier, *part) for part in parts]
        facts = {name: torch.cat([each.facts[name] for each in apart]) for name in together.facts}
        same(Explained(torch.cat([each.heatmaps for each in apart]), facts), together)


def test_several_targets_are_as_one_by_one(
    explainer: Explainer, classifier: Classifier, images: torch.Tensor
) -> None:
    together = explainer.explain(classifier, images, TARGETS, SEEDS)
    for rank in range(3):
        one = slice(rank, rank + 1)
        same(explainer.explain(classifier, images, TARGETS[:, one], SEEDS), together, one)


def test_the_seed_decides_and_nothing_else(
    explainer: Explainer, classifier: Classifier, images: torch.Tensor
) -> None:
    explain = heatmaps_of(explainer, classifier)
    before = torch.get_rng_state()
    first, again = explain(images, TARGETS, SEEDS), explain(images, TARGETS, SEEDS)
    assert torch.equal(first, again)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(explain(images, TARGETS, SEEDS + 1), first) == explainer.is_deterministic


def test_without_seeds_every_image_has_seed_0(explainer: Explainer, images: torch.Tensor) -> None:
    explain = heatmaps_of(explainer, known("plain"))
    assert torch.equal(explain(images, TARGETS), explain(images, TARGETS, torch.zeros_like(SEEDS)))


def test_the_target_matters_where_it_is_claimed(
    explainer: Explainer, classifier: Classifier, images: torch.Tensor
) -> None:
    explain = heatmaps_of(explainer, classifier)
    first = explain(images, torch.zeros(5, 1, dtype=torch.int64), SEEDS)
    other = explain(images, torch.ones(5, 1, dtype=torch.int64), SEEDS)
    assert torch.allclose(first, other) != explainer.is_class_sensitive


def test_double_precision_agrees(
    explainer: Explainer, module: nn.Module, images: torch.Tensor
) -> None:
    classifier = Classifier(module)
    single = explainer.explain(classifier, images, TARGETS, SEEDS).heatmaps
    module.double()
    double = explainer.explain(classifier, images.double(), TARGETS, SEEDS).heatmaps
    assert double.dtype == torch.float64
    assert (double - single).norm() < 1e-3 * double.norm()


def test_works_where_gradients_are_off(
    explainer: Explainer, classifier: Classifier, images: torch.Tensor
) -> None:
    explain = heatmaps_of(explainer, classifier)
    expected = explain(images, TARGETS, SEEDS)
    with torch.no_grad():
        assert torch.equal(explain(images, TARGETS, SEEDS), expected)


def test_works_in_inference_mode(
    explainer: Explainer, module: nn.Module, images: torch.Tensor
) -> None:
    # Captured inside, and given what was made inside: nothing of it can be differentiated.
    explain = heatmaps_of(explainer, Classifier(module))
    with torch.inference_mode():
        heatmaps = explain(images.clone(), TARGETS.clone(), SEEDS.clone())
    torch.testing.assert_close(heatmaps, explain(images, TARGETS, SEEDS), rtol=1e-5, atol=1e-6)


def test_a_network_that_is_trained_on_is_explained_as_it_is_now(
    explainer: Explainer, images: torch.Tensor
) -> None:
    if isinstance(explainer, FitsFirst):
        pytest.skip("fitted to the weights as they were")
    module, trained = network("in_place"), network("in_place", seed=1)
    classifier = Classifier(module)
    explainer.explain(classifier, images, TARGETS, SEEDS)
    module.load_state_dict(trained.state_dict())
    found = explainer.explain(classifier, images, TARGETS, SEEDS).heatmaps
    expected = explainer.explain(Classifier(trained), images, TARGETS, SEEDS).heatmaps
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


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
    explain = heatmaps_of(explainer, Classifier(module))
    heatmaps = explain(images, TARGETS, SEEDS)
    watched.check()
    assert torch.equal(images, original)
    assert not images.requires_grad
    module.eval()
    assert torch.equal(explain(images, TARGETS, SEEDS), heatmaps)


def test_preparing_is_harmless(
    explainer: Explainer, module: nn.Module, images: torch.Tensor
) -> None:
    module.train()
    original = images.clone()
    watched, before = Watched(module), torch.get_rng_state()
    findings = explainer.prepare(Classifier(module), images[:2])
    watched.check()
    assert torch.equal(images, original)
    assert torch.equal(before, torch.get_rng_state())
    assert json.loads(json.dumps(findings)) == findings
    assert findings == explainer.prepare(Classifier(module), images[:2])


def test_what_is_remembered_is_forgotten_with_the_network(
    explainer: Explainer, images: torch.Tensor
) -> None:
    if isinstance(explainer, FitsFirst):
        explainer = explainer.explainer.fit(known("plain"), [images])
    module = copy.deepcopy(known("plain").module)
    gone = weakref.ref(module)
    explainer.explain(Classifier(module), images, TARGETS, SEEDS)
    del module
    gc.collect()
    assert gone() is None


def test_explainers_are_values(explainer: Explainer, images: torch.Tensor) -> None:
    if isinstance(explainer, FitsFirst):
        explainer = explainer.explainer
    same_again, shown = copy.deepcopy(explainer), repr(explainer)
    assert same_again == explainer
    ready(explainer).explain(known("plain"), images, TARGETS, SEEDS)
    assert repr(explainer) == shown
    assert same_again == explainer == pickle.loads(pickle.dumps(explainer))


def refused(
    explainer: Explainer, error: type[Exception], match: str
) -> AbstractContextManager[object]:
    """Null explainers never run the network, so they notice nothing; the others must."""
    return nullcontext() if explainer.is_control else pytest.raises(error, match=match)


def test_a_target_that_is_not_a_class_is_refused_and_nothing_is_left(
    explainer: Explainer, module: nn.Module, images: torch.Tensor
) -> None:
    module.train()
    watched = Watched(module)
    explain = heatmaps_of(explainer, Classifier(module))
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
    explain = heatmaps_of(explainer, Classifier(module))
    with refused(explainer, Exception, "the model raised"):
        explain(images, TARGETS, SEEDS)
    watched.check()

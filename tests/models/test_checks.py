"""What is found of a network before its first image: neighbours, sizes, chance, gradients."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import CLASSES, Plain
from torch import Tensor, nn
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import global_states
from xai_sweep.explainers import GradCam, Lime, Occlusion, Saliency, SmoothGrad
from xai_sweep.explainers.base import Explainer
from xai_sweep.models import Classifier
from xai_sweep.models.checks import examined, samples
from xai_sweep.study.subject import Subject

LIME = Lime(num_samples=80, segmentation="slic", options={"n_segments": 8})

LIKE = torch.zeros(1, 3, 16, 16)


class Then(Plain):
    """Something is done with the logits."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.end = end

    @override
    def forward(self, images: Tensor) -> Tensor:
        return self.end(super().forward(images))


class Norm(Plain):
    """Batchnorm without running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.features.insert(1, nn.BatchNorm2d(8, track_running_stats=False))


class Trains(Plain):
    """A batchnorm that nobody can put into evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.features.insert(1, nn.BatchNorm2d(8))

    @override
    def train(self, mode: bool = True) -> "Trains":
        super().train(mode)
        self.features[1].training = True
        return self


class Counts(Plain):
    """Keeps a state."""

    calls = 0

    @override
    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(images) + 0.1 * self.calls


class OwnGenerator(Plain):
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng(0)

    @override
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + self.generator.random()


def plain(make: Callable[[], nn.Module] = Plain) -> nn.Module:
    torch.manual_seed(0)
    return make()


def refusal(network: nn.Module, **said: Any) -> str:
    with pytest.raises(InputError) as error:
        examined(Classifier(network, **said), LIKE)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Norm, "model=Norm: its outputs for an image must not depend on the other images of a"),
        (Norm, "features.1 must use running statistics"),
        (Trains, "features.1 must use running statistics"),
        (lambda: Then(lambda z: z - z.mean(dim=0)), "must not depend on the other images"),
        (lambda: Then(lambda z: z / len(z)), "must not depend on the other images"),
        (lambda: Then(lambda z: z + 1e-3 * z.std(dim=0)), "must not depend on the other images"),
        (lambda: Then(lambda z: z.softmax(dim=0)), "must not depend on the other images"),
        (Counts, "model=Counts: gives other outputs when it is run again"),
        (OwnGenerator, "model=OwnGenerator: gives other outputs when it is run again"),
        (lambda: Then(lambda z: z.view(2, CLASSES)), "float32[3, 3, 16, 16]; it raised Runtime"),
        (lambda: Plain().half(), "must take any number of images as float32[2, 3, 16, 16]"),
    ],
)
def test_refused(network: Callable[[], nn.Module], message: str) -> None:
    assert message in refusal(plain(network))


@pytest.mark.parametrize(
    ("end", "where"),
    [
        (F.dropout, " in dropout"),
        (lambda z: F.dropout(z, 1e-6), " in dropout"),
        (lambda z: z + torch.randn_like(z), " in randn_like"),
        (lambda z: z + np.random.random(), ""),
        (lambda z: z + random.random(), ""),
    ],
)
def test_chance_is_refused_and_named(end: Callable[[Tensor], Tensor], where: str) -> None:
    message = refusal(Then(end))
    assert message.startswith(
        f"model.stochastic=refuse: the network draws random numbers{where} when it predicts; "
    )
    assert "model.stochastic=allow" in message


def test_own_generators_are_refused_even_where_chance_is_allowed() -> None:
    assert "no generator of its own" in refusal(OwnGenerator(), stochastic="allow")


@pytest.mark.parametrize("explainer", [Saliency(), SmoothGrad(samples=2), Occlusion(8, 8)])
def test_with_a_seed_per_image_rows_are_those_of_any_batch(explainer: Explainer) -> None:
    torch.manual_seed(0)
    classifier = Classifier(
        Then(lambda z: F.dropout(z, 0.3) + np.random.random() + random.random())
    )
    subject = Subject(examined(Classifier(classifier.module, stochastic="allow"), LIKE), explainer)
    images = samples(classifier, LIKE)
    seeds, targets = torch.tensor([5, 6, 7]), torch.tensor([[0, 1]] * 3)
    state = global_states()
    logits = subject.logits(images, seeds)
    maps = subject.explain(images, targets, seeds).heatmaps
    assert global_states() == state
    for index in (2, 0, 1):
        at = slice(index, index + 1)
        assert torch.equal(subject.logits(images[at], seeds[at]), logits[at])
        assert torch.equal(subject.explain(images[at], targets[at], seeds[at]).heatmaps, maps[at])
    assert not torch.equal(subject.logits(images, seeds + 1), logits)


def test_a_random_network_has_no_graph() -> None:
    subject = Subject(Classifier(Then(F.dropout), stochastic="allow"), GradCam())
    with pytest.raises(InputError, match=r"model.stochastic=allow: must be refuse for this method"):
        subject.explain(samples(subject.classifier, LIKE), torch.zeros(3, 1, dtype=torch.int64))


@pytest.mark.parametrize("end", [lambda z: z, lambda z: z.double(), lambda z: z.bfloat16()])
def test_good_networks_are_left_as_they_are(end: Callable[[Tensor], Tensor]) -> None:
    network = plain(lambda: Then(end)).train()
    state = global_states()
    classifier = examined(Classifier(network), LIKE)
    assert classifier.module is network
    assert network.training
    assert global_states() == state
    assert examined(classifier, LIKE) is classifier


def test_outputs_without_gradients_are_for_methods_that_ask() -> None:
    classifier = examined(Classifier(Then(lambda z: z.detach())), LIKE)
    images, targets = samples(classifier, LIKE), torch.zeros(3, 1, dtype=torch.int64)
    with pytest.raises(InputError, match="explainer=Saliency: needs the gradients of the network"):
        Subject(classifier, Saliency()).explain(images, targets)
    maps = Subject(classifier, LIME).explain(images, targets).heatmaps
    assert maps.abs().amax() > 0


def test_a_network_that_needs_two_images_gets_two() -> None:
    network = plain(lambda: Then(lambda z: z.squeeze(0)))
    classifier = examined(Classifier(network), LIKE)
    images = samples(classifier, LIKE)
    with torch.no_grad():
        assert classifier.module(images[:1]).shape == (1, CLASSES)
        torch.testing.assert_close(classifier.module(images[:1]), network(images)[:1])


def test_a_compiled_network_is_taken_out() -> None:
    network = Plain()
    assert examined(Classifier(torch.compile(network)), LIKE).module is network  # type: ignore[arg-type]

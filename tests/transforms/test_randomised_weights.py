"""Randomised networks: which layers, with what, and what stays as it was."""

import itertools
import logging
import weakref
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from oracles.randomised import random_layers
from torch import Tensor, nn
from transform_checks import changed, heatmaps_of, small_cases, small_subject

from xai_sweep.core.errors import InputError
from xai_sweep.explainers import GradCam, InputXGradient, PatternNet
from xai_sweep.models.classifier import Classifier
from xai_sweep.study.case import Case
from xai_sweep.study.subject import Subject
from xai_sweep.transforms import RandomisedWeights
from xai_sweep.transforms.weights.layers import layers_in_order

# In the order in which they run. "" is the network itself, which holds the scale of the logits.
ORDER = ["stem", "norm", "second", "plain_norm", "first", "head", ""]


class Mixed(nn.Module):
    """Registered in another order than it runs in; it holds everything a layer may be."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 5))
        self.first = nn.Conv2d(6, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.plain_norm = nn.BatchNorm2d(6, affine=False)
        self.unused = nn.Linear(6, 6)
        self.head = nn.Linear(6, 5)
        self.register_buffer("offset", torch.linspace(-1, 1, 5))

    def forward(self, images: Tensor) -> Tensor:
        maps = F.relu(self.norm(self.stem(images)))
        maps = F.relu(self.plain_norm(self.second(maps)))
        maps = F.relu(self.first(maps))
        return self.head(maps.mean(dim=(2, 3))) * self.scale + self.offset


class Deciding(Mixed):
    """Its control flow depends on its data, so that it cannot be captured."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) if images.sum() > -1e9 else images[:, :, 0, 0]


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.again = nn.Conv2d(3, 3, 3, padding=1)
        self.again.weight = self.first.weight
        self.head = nn.Linear(3, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.again(self.first(images).relu()).mean(dim=(2, 3)))


class Derived(Mixed):
    """Holds the result of a computation, which `copy.deepcopy` cannot copy."""

    def __init__(self) -> None:
        super().__init__()
        self.doubled = 2 * self.stem.weight


def subject_of(kind: type[nn.Module]) -> Subject:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = kind().eval()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
                if part.affine:
                    nn.init.normal_(part.weight)
                    nn.init.normal_(part.bias)
    return replace(small_subject(), classifier=Classifier(module, size=20))


def randomised(
    subject: Subject, cases: Sequence[Case], share: float, draw: int = 0, **parameters: object
) -> nn.Module:
    transform = RandomisedWeights(**parameters)
    found = changed(subject, cases, transform, [share] * len(cases), draw)
    return (found.subject or subject).classifier.module


def changed_layers(subject: Subject, module: nn.Module) -> set[str]:
    trained = subject.classifier.module.state_dict()
    return {
        name.rpartition(".")[0]
        for name, tensor in module.state_dict().items()
        if not torch.equal(tensor, trained[name])
    }


@pytest.fixture(scope="module")
def subject() -> Subject:
    return subject_of(Mixed)


@pytest.fixture(scope="module")
def cases(subject: Subject) -> list[Case]:
    return small_cases(subject)


def test_layers_come_in_the_order_in_which_they_run(subject: Subject, cases: list[Case]) -> None:
    images = torch.stack([case.image for case in cases])
    assert [layer.path for layer in layers_in_order(subject.classifier, images)] == ORDER


def test_a_network_without_a_graph_is_taken_as_registered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    subject = subject_of(Deciding)
    with caplog.at_level(logging.WARNING):
        layers = layers_in_order(subject.classifier, torch.zeros(2, 3, 20, 20))
    registered = ["", "first", "second", "stem", "norm", "plain_norm", "unused", "head"]
    assert [layer.path for layer in layers] == registered
    assert "order in which Deciding registers them" in caplog.text


@pytest.mark.parametrize("order", ["top", "bottom", "independent"])
@pytest.mark.parametrize("share", [0.0, 0.01, 1 / 7, 0.5, 5 / 7, 1.0])
def test_a_share_of_the_layers_is_random(
    subject: Subject, cases: list[Case], order: str, share: float
) -> None:
    module = randomised(subject, cases, share, order=order, batchnorm="reset")
    assert changed_layers(subject, module) == random_layers(ORDER, share, order)


def test_rounding_adds_no_layer() -> None:
    images = torch.zeros(2, 3, 20, 20)
    layers = layers_in_order(subject_of(Mixed).classifier, images) * 100
    for count in range(701):
        for order in ("top", "bottom"):
            assert len(RandomisedWeights(order=order).chosen(layers, count / 700)) == count


def test_nothing_random_is_the_reference(subject: Subject, cases: list[Case]) -> None:
    found = changed(subject, cases, RandomisedWeights(), [0.0] * 3)
    assert found.subject is None
    heatmaps = heatmaps_of(subject, cases, found)
    assert torch.equal(heatmaps, torch.stack([case.reference for case in cases]))


def test_heatmaps_are_those_of_the_other_network(subject: Subject, cases: list[Case]) -> None:
    found = changed(subject, cases, RandomisedWeights(), [1.0] * 3)
    assert found.subject is not None
    assert not torch.allclose(subject.logits(found.images), found.subject.logits(found.images))
    other = Subject(
        replace(subject.classifier, module=found.subject.classifier.module), InputXGradient()
    )
    targets = torch.stack([case.targets for case in cases])
    expected = other.explain(found.images, targets).heatmaps
    assert torch.equal(heatmaps_of(subject, cases, found), expected)


@pytest.mark.parametrize("distribution", ["normal", "permute", "reinitialise"])
def test_layers_of_equal_shape_get_different_weights(
    subject: Subject, cases: list[Case], distribution: str
) -> None:
    module = randomised(subject, cases, 1.0, distribution=distribution)
    first, second = (
        module.get_parameter(f"{name}.weight").detach().flatten() for name in ("first", "second")
    )
    correlation = torch.corrcoef(torch.stack([first, second]))[0, 1]
    assert abs(float(correlation)) < 4 / 324**0.5  # four standard errors of 324 weights


@pytest.mark.parametrize("distribution", ["normal", "permute", "reinitialise"])
def test_draws_and_seeds_give_other_weights_and_larger_shares_the_same(
    subject: Subject, cases: list[Case], distribution: str
) -> None:
    def weight(share: float, draw: int, root: int, order: str = "top") -> Tensor:
        rooted = [replace(case, root=root) for case in cases]
        module = randomised(subject, rooted, share, draw, distribution=distribution, order=order)
        return module.get_parameter("head.weight")

    trained = subject.classifier.module.get_parameter("head.weight")
    expected = weight(0.5, 0, 0)
    assert torch.equal(expected, weight(1.0, 0, 0))
    assert torch.equal(expected, weight(1.0, 0, 0, "bottom"))
    assert torch.equal(expected, weight(2 / 7, 0, 0, "independent"))
    weights = [trained, expected, weight(0.5, 1, 0), weight(0.5, 0, 1)]
    for one, other in itertools.combinations(weights, 2):
        assert not torch.equal(one, other)


def test_normal_weights_have_the_mean_and_spread_of_the_trained() -> None:
    subject = subject_of(Mixed)
    trained = subject.classifier.module
    with torch.no_grad():
        trained.get_parameter("first.weight").mul_(3).add_(0.7)
    cases = small_cases(subject)
    module = randomised(subject, cases, 1.0)
    for name in ("first.weight", "second.weight", "stem.weight"):
        was = trained.get_parameter(name).detach()
        now = module.get_parameter(name).detach()
        error = float(was.std()) / was.numel() ** 0.5
        assert float(now.mean()) == pytest.approx(float(was.mean()), abs=4 * error)
        assert float(now.std()) == pytest.approx(float(was.std()), abs=4 * error)


def test_permuted_weights_are_the_trained_ones(subject: Subject, cases: list[Case]) -> None:
    module = randomised(subject, cases, 1.0, distribution="permute")
    for name, was in subject.classifier.module.named_parameters():
        now = module.get_parameter(name)
        assert torch.equal(now.flatten().sort().values, was.flatten().sort().values)


def test_reinitialised_weights_are_as_torch_initialises_them(
    subject: Subject, cases: list[Case]
) -> None:
    module = randomised(subject, cases, 1.0, distribution="reinitialise")
    bound = (6 * 9) ** -0.5  # of torch's convolutions: uniform within 1 / sqrt(fan in)
    weight = module.get_parameter("first.weight").detach()
    assert weight.abs().max() <= bound
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.1)
    assert torch.equal(module.get_parameter("norm.weight"), torch.ones(6))
    # A bare parameter has no initialisation that is known.
    assert not torch.equal(module.get_parameter("scale"), subject.classifier.module.scale)


@pytest.mark.parametrize("distribution", ["normal", "permute", "reinitialise"])
@pytest.mark.parametrize("name", ["norm", "plain_norm"])
def test_statistics_are_kept_or_reset(
    subject: Subject, cases: list[Case], distribution: str, name: str
) -> None:
    kept, reset = (
        randomised(subject, cases, 1.0, distribution=distribution, batchnorm=batchnorm)
        .get_submodule(name)
        .state_dict()
        for batchnorm in ("keep", "reset")
    )
    trained = subject.classifier.module.get_submodule(name).state_dict()
    assert torch.equal(kept["running_mean"], trained["running_mean"])
    assert torch.equal(kept["running_var"], trained["running_var"])
    assert torch.equal(reset["running_mean"], torch.zeros(6))
    assert torch.equal(reset["running_var"], torch.ones(6))


def test_other_buffers_and_layers_that_do_not_run_are_kept(
    subject: Subject, cases: list[Case]
) -> None:
    module = randomised(subject, cases, 1.0, batchnorm="reset")
    trained = subject.classifier.module
    assert torch.equal(module.get_buffer("offset"), trained.get_buffer("offset"))
    assert torch.equal(
        module.get_parameter("unused.weight"), trained.get_parameter("unused.weight")
    )


def test_a_shared_weight_is_drawn_once() -> None:
    subject = subject_of(Tied)
    cases = small_cases(subject)
    half, whole = (randomised(subject, cases, share, order="bottom") for share in (1 / 3, 1.0))
    assert whole.first.weight is whole.again.weight
    assert torch.equal(half.first.weight, whole.first.weight)
    assert not torch.equal(whole.first.weight, subject.classifier.module.first.weight)


def test_one_copy_is_made_for_many_batches_and_freed_for_the_next(
    subject: Subject, cases: list[Case]
) -> None:
    subject = replace(subject, explainer=GradCam())  # it captures every network it explains
    apply = RandomisedWeights().bind(subject)

    def network(share: float, of: list[Case]) -> "weakref.ref[Tensor]":
        shares = torch.full((len(of),), share, dtype=torch.float64)
        found = apply(of, shares, 0)
        heatmaps_of(subject, of, found)
        return weakref.ref(next(found.subject.classifier.module.parameters()))

    first = network(0.5, cases)
    assert network(0.5, cases[:1]) is first
    network(1.0, cases)
    assert first() is None


def test_the_global_stream_and_the_network_are_left_alone(
    subject: Subject, cases: list[Case]
) -> None:
    before = torch.get_rng_state()
    state = {
        name: tensor.clone() for name, tensor in subject.classifier.module.state_dict().items()
    }
    randomised(subject, cases, 1.0, distribution="reinitialise", batchnorm="reset")
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in subject.classifier.module.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_a_copy_made_in_inference_mode_can_be_differentiated(
    subject: Subject, cases: list[Case]
) -> None:
    with torch.inference_mode():
        found = changed(subject, cases, RandomisedWeights(), [1.0] * 3)
        inside = heatmaps_of(subject, cases, found)
    outside = heatmaps_of(subject, cases, changed(subject, cases, RandomisedWeights(), [1.0] * 3))
    assert torch.equal(inside, outside)


def test_a_batch_has_one_share(subject: Subject, cases: list[Case]) -> None:
    with pytest.raises(ValueError, match=r"one share of random layers, not \[0.5, 1.0\]"):
        changed(subject, cases, RandomisedWeights(), [0.5, 1.0, 1.0])


def test_a_method_fitted_to_the_trained_network_is_refused(subject: Subject) -> None:
    with pytest.raises(InputError) as caught:
        RandomisedWeights().bind(Subject(subject.classifier, PatternNet()))
    assert str(caught.value) == (
        "explainer=PatternNet: must be a method that is not fitted to the trained network, because "
        "transform=randomised_weights explains another network"
    )


def test_a_network_that_cannot_be_copied_is_refused() -> None:
    subject = subject_of(Derived)
    with pytest.raises(InputError) as caught:
        changed(subject, small_cases(subject), RandomisedWeights(), [1.0] * 3)
    text = str(caught.value)
    assert text.startswith("model=Derived: must be a network that copy.deepcopy can copy: ")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"order": "up"}, "transform.order=up: must be one of top, bottom, independent"),
        (
            {"distribution": "uniform"},
            "transform.distribution=uniform: must be one of normal, permute, reinitialise",
        ),
        ({"batchnorm": None}, "transform.batchnorm=null: must be one of keep, reset"),
    ],
)
def test_bad_input_is_named(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        RandomisedWeights(**parameters)  # type: ignore[arg-type]
    assert str(caught.value) == message

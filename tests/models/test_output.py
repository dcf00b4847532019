"""Whatever a network returns: the logits that are explained, and its own probabilities."""

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_sweep.core.errors import InputError
from xai_sweep.explainers import LRP, GradCam, InputXGradient, Lime, Saliency
from xai_sweep.explainers.base import Explainer
from xai_sweep.models import Classifier
from xai_sweep.models.checks import examined, samples
from xai_sweep.study.subject import Subject

LIME = Lime(num_samples=80, segmentation="slic", options={"n_segments": 8})

LIKE = torch.zeros(1, 3, 16, 16)


class Ending(nn.Module):
    """A small network, and what its last layer's outputs become."""

    def __init__(self, end: Callable[[Tensor], Any], classes: int = 3, scale: float = 30) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.last = nn.Linear(6, classes)
        self.end = end
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / 3
        self.last.weight.data *= scale

    def logits(self, images: Tensor) -> Tensor:
        return self.last(F.relu(self.first(images)).mean(dim=(2, 3)))

    def forward(self, images: Tensor) -> Any:
        return self.end(self.logits(images))


@dataclass
class Answer:
    loss: None
    logits: Tensor
    features: Tensor


Named = namedtuple("Named", "logits aux")


def found(network: nn.Module, **said: Any) -> Classifier:
    return examined(Classifier(network, **said), LIKE)


def pictures(classifier: Classifier) -> Tensor:
    return samples(classifier, LIKE)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda z: z, {}),
        (lambda z: z, {"output": "softmax"}),
        (lambda z: z, {"output": "logits"}),
        (lambda z: z.softmax(dim=1), {}),
        (lambda z: z.softmax(dim=1), {"output": "softmax"}),
        (lambda z: z.softmax(dim=1), {"output": "probabilities"}),
        (nn.Softmax(dim=-1), {}),
        (lambda z: torch.softmax(input=z, dim=1), {}),
        (lambda z: F.log_softmax(z, dim=1), {}),
        (lambda z: z.softmax(dim=1).log(), {}),
        (lambda z: z[:, :, None, None].softmax(dim=1).flatten(1), {}),
        (lambda z: z[:, :, None, None], {}),
        (lambda z: (z,), {}),
        (lambda z: [z], {}),
        (lambda z: [z, z * 2], {"output_key": 0}),
        (lambda z: (z * 2, z), {"output_key": 1}),
        (lambda z: (z * 2, {"aux": z}), {"output_key": "1.aux"}),
        (lambda z: {"logits": z, "features": z * 2}, {}),
        (lambda z: {"features": z * 2, "out": z}, {"output_key": "out"}),
        (lambda z: OrderedDict(loss=None, logits=z, hidden=(z, z)), {}),
        (lambda z: Answer(None, z, z * 2), {}),
        (lambda z: Named(z, z * 2), {}),
        (lambda z: {"logits": z.softmax(dim=1), "features": z}, {}),
    ],
)
def test_exclusive_classes(end: Callable[[Tensor], Any], said: dict[str, Any]) -> None:
    network = Ending(end)
    classifier = found(network, **said)
    images = pictures(classifier)
    logits = classifier.module(images)
    torch.testing.assert_close(logits, network.logits(images))
    ours = Subject(classifier, Saliency()).predict(images)
    torch.testing.assert_close(ours, network.logits(images).double().softmax(dim=1))


@pytest.mark.parametrize(
    "end",
    [
        lambda z: z.softmax(dim=1).clamp(1e-7, 1),
        lambda z: z.exp() / z.exp().sum(dim=1, keepdim=True),
        lambda z: z - z.logsumexp(dim=1, keepdim=True),
    ],
)
def test_probabilities_whose_logits_cannot_be_seen(end: Callable[[Tensor], Tensor]) -> None:
    network = Ending(end, scale=3)
    classifier = found(network)
    images = pictures(classifier)
    wanted = network.logits(images).double().softmax(dim=1)
    torch.testing.assert_close(
        classifier.probabilities(classifier.module(images)), wanted, atol=1e-5, rtol=1e-4
    )
    assert classifier.link == "softmax"


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda z: z, {"output": "sigmoid"}),
        (torch.sigmoid, {}),
        (torch.sigmoid, {"output": "probabilities"}),
        (lambda z: z.sigmoid_(), {}),
        (nn.Sigmoid(), {"output": "sigmoid"}),
        (F.logsigmoid, {}),
    ],
)
def test_classes_by_themselves(end: Callable[[Tensor], Tensor], said: dict[str, Any]) -> None:
    network = Ending(end)
    classifier = found(network, **said)
    images = pictures(classifier)
    torch.testing.assert_close(classifier.module(images), network.logits(images))
    ours = Subject(classifier, Saliency()).predict(images)
    torch.testing.assert_close(ours, network.logits(images).double().sigmoid())


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda z: z, {}),
        (lambda z: z, {"output": "logits"}),
        (lambda z: z[:, 0], {"output": "sigmoid"}),
        (torch.sigmoid, {}),
        (lambda z: z.sigmoid().squeeze(1), {}),
        (lambda z: z.sigmoid().squeeze(), {}),
        (lambda z: {"logits": z}, {}),
    ],
)
def test_one_number_for_two_classes(end: Callable[[Tensor], Any], said: dict[str, Any]) -> None:
    network = Ending(end, classes=1)
    classifier = found(network, **said)
    images = pictures(classifier)
    z = network.logits(images)
    torch.testing.assert_close(classifier.module(images), torch.cat([-z, z], dim=1))
    torch.testing.assert_close(classifier.module(images[:1]), torch.cat([-z, z], dim=1)[:1])
    p = classifier.probabilities(classifier.module(images))
    torch.testing.assert_close(p, torch.cat([1 - z.double().sigmoid(), z.double().sigmoid()], 1))


@pytest.mark.parametrize("explainer", [LRP(), InputXGradient(), GradCam(polarity="both")])
@pytest.mark.parametrize("end", [lambda z: z, torch.sigmoid])
def test_class_0_is_explained_by_the_opposite(
    explainer: Explainer, end: Callable[[Tensor], Tensor]
) -> None:
    classifier = found(Ending(end, classes=1))
    subject = Subject(classifier, explainer)
    images = pictures(classifier)
    maps = subject.explain(images, torch.tensor([[0, 1]] * 3)).heatmaps
    assert maps.abs().amax() > 0
    torch.testing.assert_close(maps[:, 0], -maps[:, 1])


@pytest.mark.parametrize(
    "explainer",
    [
        LRP(),
        GradCam(),
        Saliency(),
        LIME,
    ],
)
def test_methods_see_the_logits_before_a_softmax(explainer: Explainer) -> None:
    network = Ending(lambda z: z.softmax(dim=1), scale=3)
    bare = Ending(lambda z: z, scale=3)
    targets, seeds = torch.tensor([[0, 2]] * 3), torch.arange(3)
    images = pictures(Classifier(bare))
    with_end, without = (
        Subject(Classifier(each), explainer).explain(images, targets, seeds).heatmaps
        for each in (network, bare)
    )
    assert without.abs().amax() > 0
    torch.testing.assert_close(with_end, without)


def test_paths_are_those_of_the_network() -> None:
    classifier = found(Ending(lambda z: z.softmax(dim=1)))
    images = pictures(classifier)
    targets = torch.zeros(3, 1, dtype=torch.int64)
    by_path, by_default = (
        GradCam(layer=layer).explain(classifier, images, targets).heatmaps
        for layer in ("first", None)
    )
    assert by_path.shape == by_default.shape
    with pytest.raises(InputError, match="name a module with a map, such as first"):
        GradCam(layer="network.first").explain(classifier, images, targets)


@pytest.mark.parametrize(
    ("end", "said", "message"),
    [
        (lambda z: (z, z), {}, "model.output_key=null: must name one of .*: 0 .2, 3., 1 .2, 3."),
        (lambda z: z.topk(2), {}, "model.output_key=null: must name one"),
        (lambda z: (z, z), {"output_key": 2}, "model.output_key=2: must name one of"),
        (lambda z: {"a": z}, {"output_key": "b"}, "model.output_key=b: must name one of .*: a "),
        (lambda z: None, {}, "model.output_key=null: the network returns NoneType; must be"),
        (lambda z: z[0], {}, r"the network returns float32\[3\] for 2 images"),
        (lambda z: z.sum(), {}, r"the network returns float32\[\] for 2 images"),
        (lambda z: z[..., None, None].expand(-1, -1, 4, 4), {}, r"float32\[2, 3, 4, 4\]"),
        (lambda z: z.argmax(dim=1), {}, r"int64\[2\]"),
        (lambda z: z.to(torch.complex64), {}, r"complex64\[2, 3\]"),
        (F.hardsigmoid, {}, "model.output=auto: the outputs lie in .0, 1., and how they were made"),
        (torch.softmax, {"output": "sigmoid"}, "probabilities that sum to 1; must be softmax"),
        (torch.softmax, {"output": "logits"}, "probabilities that sum to 1; must be softmax"),
        (torch.sigmoid, {"output": "softmax"}, "the network ends in a sigmoid; must be sigmoid"),
        (lambda z: z, {"output": "probabilities"}, "outputs leave .0, 1.; must be logits"),
    ],
)
def test_what_cannot_be_told_is_asked_for(
    end: Callable[..., Any], said: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        found(Ending(end if end is not torch.softmax else lambda z: z.softmax(dim=1)), **said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("end", "said", "message"),
    [
        (
            lambda z: z.softmax(dim=1),
            {},
            "a single class by softmax is always 1",
        ),
        (lambda z: z, {"output": "softmax"}, "there is one output, whose softmax is always 1"),
    ],
)
def test_one_class_is_none(
    end: Callable[[Tensor], Tensor], said: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        found(Ending(end, classes=1), **said)


def test_small_logits_in_0_to_1_are_logits() -> None:
    network = Ending(lambda z: z, scale=0.01)
    network.last.bias.data[:] = 0.5
    classifier = found(network)
    assert classifier.module is network
    assert classifier.link == "softmax"

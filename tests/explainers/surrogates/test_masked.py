import pytest
import torch
from networks import network

from xai_sweep.core.errors import InputError
from xai_sweep.explainers.perturbation.superpixels import with_outside
from xai_sweep.explainers.perturbation.surrogates import MaskedPredictions, hidden
from xai_sweep.models import Classifier


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


LABELS = torch.randint(0, 5, (3, 16, 16), generator=torch.Generator().manual_seed(1))
MASKS = random(3, 7, 5) > 0
TARGETS = torch.tensor([[0, 1], [4, 2], [3, 3]])


def test_hidden_superpixels_have_their_mean_colour() -> None:
    images = random(3, 3, 16, 16)
    painted = hidden(images, LABELS, 5)
    for image in range(3):
        for number in range(5):
            inside = LABELS[image] == number
            expected = images[image][:, inside].mean(dim=1, keepdim=True)
            torch.testing.assert_close(painted[image][:, inside], expected.expand(-1, inside.sum()))


@pytest.mark.parametrize("at_once", [1, 2, 3, 8, 21, 64, None])
def test_probabilities_are_those_of_images_composed_one_by_one(at_once: int | None) -> None:
    images, module = random(3, 3, 16, 16).double(), network("in_place").double()
    painted = random(3, 3, 16, 16, seed=5).double()
    seen: list[int] = []
    module.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    predict = MaskedPredictions(Classifier(module), "float32", at_once)
    found = predict(images, painted, LABELS, MASKS, TARGETS)
    assert set(seen) == {min(at_once or 21, 21)}
    assert found.shape == (3, 7, 2)
    for image in range(3):
        for sample in range(7):
            composed = painted[image].clone()
            for number in range(5):
                if MASKS[image, sample, number]:
                    inside = LABELS[image] == number
                    composed[:, inside] = images[image][:, inside]
            expected = module(composed[None]).softmax(dim=1)[0, TARGETS[image]]
            torch.testing.assert_close(found[image, sample], expected, rtol=1e-9, atol=1e-12)


def test_a_target_that_is_no_class_is_refused() -> None:
    images = random(3, 3, 16, 16)
    predict = MaskedPredictions(Classifier(network("plain")), "float32", None)
    with pytest.raises(InputError, match=r"^targets=5: must be classes of the network, from 0 to"):
        predict(images, images, LABELS, MASKS, TARGETS + 1)


def test_what_came_from_outside_is_a_superpixel_of_its_own() -> None:
    moved = torch.tensor([[[-1, 0], [2, 2]], [[4, 1], [1, 0]]])
    assert with_outside(moved).tolist() == [[[3, 0], [2, 2]], [[4, 1], [1, 0]]]


def test_a_network_that_is_no_graph_is_asked_as_it_is() -> None:
    class Branching(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network("plain")

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.inner(images) if images.sum() > -1e9 else self.inner(-images)

    images, painted = random(3, 3, 16, 16), random(3, 3, 16, 16, seed=5)
    given = (images, painted, LABELS, MASKS, TARGETS)
    found = MaskedPredictions(Classifier(Branching()), "float32", None)(*given)
    expected = MaskedPredictions(Classifier(network("plain")), "float32", None)(*given)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)

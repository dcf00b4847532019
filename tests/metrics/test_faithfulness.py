"""Deletion and insertion: planted networks, an oracle, and what peers get wrong."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from metrics.views import view_of
from networks import network
from oracles import metrics as oracles
from torch import Tensor, nn

from xai_sweep.core.errors import InputError
from xai_sweep.explainers import InputXGradient
from xai_sweep.metrics import Deletion, Insertion
from xai_sweep.metrics.faithfulness.pixels_in_order import AT_ONCE, positions, without_pixels
from xai_sweep.models import Classifier
from xai_sweep.study.subject import Subject
from xai_sweep.study.view import View

SIDE = 4


class OnePixel(nn.Module):
    """Class 0 is certain if the pixel in row 1, column 2 is bright, and impossible otherwise."""

    def forward(self, images: Tensor) -> Tensor:
        logit = 4000 * (images[:, :, 1, 2].mean(dim=1) - 0.5)
        return torch.stack([logit, torch.zeros_like(logit)], dim=1)


class Share(nn.Module):
    """The probability of class 0 is the mean of all pixels and channels."""

    def forward(self, images: Tensor) -> Tensor:
        share = images.double().mean(dim=(1, 2, 3)).clamp(1e-12, 1 - 1e-12)
        return torch.stack([share.log(), (1 - share).log()], dim=1)


class Remembering(nn.Module):
    """Any network, and the images that it is shown."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images)
        return self.module(images)


def view(module: nn.Module, heatmaps: Tensor, images: Tensor | None = None) -> View:
    """White photos by default; pixels are the network's own numbers."""
    classifier = Classifier(module, mean=(0.0,) * 3, std=(1.0,) * 3)
    white = torch.ones(len(heatmaps), 3, *heatmaps.shape[-2:])
    images = white if images is None else images
    return view_of(heatmaps, images=images, subject=Subject(classifier, InputXGradient()))


def ramp(best: int = 6) -> Tensor:
    """Relevance falls from one pixel on: 6 is the pixel in row 1, column 2."""
    order = [best, *(pixel for pixel in range(SIDE**2) if pixel != best)]
    heatmap = torch.empty(SIDE**2)
    heatmap[order] = torch.arange(SIDE**2, 0, -1).float()
    return heatmap.view(1, 1, SIDE, SIDE)


@pytest.mark.parametrize("steps", [1, 2, 4, 16])
def test_one_pixel_decides_at_the_first_step(steps: int) -> None:
    """The curve falls from 1 to 0 (rises from 0 to 1) at once: a triangle as wide as a step."""
    one = view(OnePixel(), ramp())
    assert Deletion(steps, "black")(one)["deletion"].item() == pytest.approx(1 / (2 * steps))
    assert Insertion(steps, "black")(one)["insertion"].item() == pytest.approx(1 - 1 / (2 * steps))


def test_one_pixel_that_comes_last() -> None:
    last = view(OnePixel(), -ramp())
    assert Deletion(16, "black")(last)["deletion"].item() == pytest.approx(1 - 1 / 32)
    assert Insertion(16, "black")(last)["insertion"].item() == pytest.approx(1 / 32)


def test_only_one_class_may_ask_for_the_pixel() -> None:
    """Each class has its own order and its own probability: that of class 1 rises."""
    both = view(OnePixel(), torch.cat([ramp(), ramp()], dim=1))
    found = Deletion(16, "black")(both)["deletion"]
    assert found[0].tolist() == pytest.approx([1 / 32, 1 - 1 / 32])


@pytest.mark.parametrize("steps", [1, 3, 5, 16, 40])
def test_a_straight_line_has_half_the_area_for_any_number_of_steps(steps: int) -> None:
    """Equal pixels: the probability is the fraction that is left, whatever the order; fractions are
    real ones where 16 pixels do not divide among the steps."""
    heatmaps = torch.randn(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    line = view(Share(), heatmaps)
    assert Deletion(steps, "black")(line)["deletion"].item() == pytest.approx(0.5, abs=1e-6)
    assert Insertion(steps, "black")(line)["insertion"].item() == pytest.approx(0.5, abs=1e-6)


def test_the_network_sees_whole_pixels_both_ends_and_bounded_batches() -> None:
    """Not single channel values, not without step 0, not all masked copies at once."""
    remembering = Remembering(Share())
    draw = torch.Generator().manual_seed(1)
    heatmaps = torch.randn(1, 1, SIDE, SIDE, generator=draw)
    photo = torch.rand(1, 3, SIDE, SIDE, generator=draw) + 0.1
    asked = view(remembering, heatmaps, photo)
    asked.subject.logits(photo)
    remembering.shown.clear()  # what the network was examined with
    Deletion(steps=16, baseline="black")(asked)
    assert all(len(batch) <= AT_ONCE for batch in remembering.shown)
    shown = [image for batch in remembering.shown for image in batch][:17]
    assert torch.equal(shown[0], photo[0])
    assert torch.equal(shown[-1], torch.zeros_like(photo[0]))
    for step, image in enumerate(shown):
        gone = (image != photo[0]).any(dim=0)
        assert gone.sum() == step
        assert torch.equal(gone, (image == 0).all(dim=0))


def softmax_of(module: nn.Module, target: int) -> Callable[[oracles.Map], float]:
    """The probability of a class for one image."""

    def probability(image: oracles.Map) -> float:
        with torch.no_grad():
            logits = module(torch.from_numpy(image).float()[None])[0].double().tolist()
        return math.exp(logits[target]) / sum(math.exp(logit) for logit in logits)

    return probability


@pytest.mark.parametrize("baseline", ["mean", "black", "blur"])
def test_agrees_with_its_definition(baseline: str) -> None:
    draw = torch.Generator().manual_seed(2)
    module, side, steps = network("plain"), 10, 7
    heatmaps = torch.randn(2, 2, side, side, generator=draw)
    images = torch.randn(2, 3, side, side, generator=draw)
    space = Classifier(module).normalisation
    one = view_of(heatmaps, images=images, subject=Subject(Classifier(module), InputXGradient()))
    absent = without_pixels(images, baseline, space)  # type: ignore[arg-type]
    found = {
        "deletion": Deletion(steps, baseline)(one)["deletion"],  # type: ignore[arg-type]
        "insertion": Insertion(steps, baseline)(one)["insertion"],  # type: ignore[arg-type]
    }
    for case in range(2):
        full, empty = images[case].double().numpy(), absent[case].double().numpy()
        for rank in range(2):
            order = heatmaps[case, rank].flatten().argsort(descending=True).tolist()
            probability = softmax_of(module, rank)
            expected = {
                "deletion": oracles.area_in_order(probability, full, empty, order, steps),
                "insertion": oracles.area_in_order(probability, empty, full, order, steps),
            }
            for name, value in expected.items():
                assert found[name][case, rank].item() == pytest.approx(value, abs=1e-6)


def test_baselines() -> None:
    space = Classifier(network("plain"), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1)).normalisation
    pixels = torch.rand(1, 3, 15, 15, generator=torch.Generator().manual_seed(0))
    images = space.to_normalised(pixels)
    mean = space.to_pixels(without_pixels(images, "mean", space))
    assert mean[0, :, 3, 4].tolist() == pytest.approx([0.5, 0.4, 0.3])
    black = space.to_pixels(without_pixels(images, "black", space))
    assert black.abs().max() < 1e-6
    blurred = space.to_pixels(without_pixels(images, "blur", space))
    taps = np.array([math.exp(-(distance**2) / 50) for distance in range(-5, 6)])
    window = np.outer(taps, taps) / taps.sum() ** 2
    expected = (pixels[0, :, 2:13, 2:13].double().numpy() * window).sum(axis=(1, 2))
    assert blurred[0, :, 7, 7].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_equal_pixels_come_in_an_order_of_the_seed_alone() -> None:
    heatmap = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 2.0]])
    found = positions(heatmap, seed=1)
    assert sorted(found[heatmap == 2].tolist()) == [0, 1]
    assert found[1, 0] == 2
    assert sorted(found[heatmap == 0].tolist()) == [3, 4, 5]
    assert torch.equal(positions(heatmap, seed=1), found)
    assert torch.equal(positions(heatmap * 7, seed=1), found)
    orders = {tuple(positions(heatmap, seed)[heatmap == 0].tolist()) for seed in range(40)}
    assert len(orders) == 6  # all of them; a fixed order would always begin in the same corner


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_map_has_no_order(value: float) -> None:
    constant = torch.full((1, 1, SIDE, SIDE), value)
    assert Deletion()(view(Share(), constant))["deletion"].isnan().all()


def test_parameters_that_cannot_be() -> None:
    line = "metric.steps=0: must be a whole number of at least 1"
    with pytest.raises(InputError, match=f"^{re.escape(line)}$"):
        Deletion(steps=0)
    line = "metric.baseline=grey: must be one of mean, black, blur"
    with pytest.raises(InputError, match=f"^{re.escape(line)}$"):
        Insertion(baseline="grey")  # type: ignore[arg-type]

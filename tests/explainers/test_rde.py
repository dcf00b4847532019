"""RDE: on networks that are understood, the mask is what it should be."""

import numpy as np
import pytest
import torch
from heatmaps import heatmaps_of
from networks import network
from scipy.optimize import minimize
from torch import Tensor, nn

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import RandomStreams
from xai_sweep.explainers import RDE
from xai_sweep.explainers.perturbation.rde import Distortion
from xai_sweep.models import Classifier

TARGETS = torch.tensor([[0, 3], [4, 1], [2, 0]])
SEEDS = torch.tensor([3, 1, 2])


@pytest.fixture
def images() -> Tensor:
    return torch.randn(
        3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(5)
    )


class LinearInSome(nn.Module):
    """Two outputs, each a sum over ten pixels of its own, in three channels."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.where = torch.randperm(64, generator=generator)[:20].view(2, 10)
        weight = torch.zeros(2, 3, 64, dtype=torch.float64)
        for output in range(2):
            drawn = torch.randn(3, 10, dtype=torch.float64, generator=generator)
            weight[output, :, self.where[output]] = drawn
        self.weight = nn.Parameter(weight)

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("bcp,ocp->bo", images.flatten(2), self.weight)


def exact_distortion(weight: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Of a linear function and noise with mean 0 and variance 1, all flat."""
    left = weight * (1 - mask)
    return (left * image).sum().square() + left.square().sum()


def linear_case(**parameters: float) -> tuple[LinearInSome, Tensor, Tensor]:
    module = LinearInSome()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3)).double()
    explain = heatmaps_of(RDE(block=1, **parameters), Classifier(module))
    return module, images, explain(images, torch.tensor([[0, 1], [1, 0]]), SEEDS[:2])


def test_the_mask_finds_the_pixels_that_matter() -> None:
    module, images, masks = linear_case(sparsity=0.5, samples=8)
    for image, targets in enumerate(([0, 1], [1, 0])):
        for rank, target in enumerate(targets):
            weight, picture = module.weight[target].detach(), images[image].flatten(1)
            mask = masks[image, rank].flatten()
            matters = torch.zeros(64, dtype=torch.bool)
            matters[module.where[target]] = True
            assert (mask[~matters] == 0).all()
            assert mask[matters].sum() > 1
            kept = exact_distortion(weight, picture, mask)
            assert kept < 0.2 * exact_distortion(weight, picture, torch.zeros(64))
            generator = torch.Generator().manual_seed(1)
            for _ in range(20):
                among_all = mask[torch.randperm(64, generator=generator)]
                assert kept < exact_distortion(weight, picture, among_all)


@pytest.mark.parametrize("sparsity", [0.5, 2.0, 8.0])
def test_the_mask_is_the_best_there_is(sparsity: float) -> None:
    # For a linear function the objective is convex, and a solver finds its minimum.
    module, images, masks = linear_case(sparsity=sparsity, samples=8)
    for image, target in ((0, 0), (1, 1)):
        weight, picture = module.weight[target].detach(), images[image].flatten(1)

        def objective(
            flat: np.ndarray, weight: Tensor = weight, picture: Tensor = picture
        ) -> tuple[float, np.ndarray]:
            mask = torch.tensor(flat, requires_grad=True)
            empty = torch.zeros(64)
            found = exact_distortion(weight, picture, mask)
            found = found / exact_distortion(weight, picture, empty) + sparsity * mask.mean()
            found.backward()
            return float(found.detach()), mask.grad.numpy()

        best = minimize(objective, np.full(64, 0.5), jac=True, bounds=[(0, 1)] * 64)
        assert best.success
        ours, _ = objective(masks[image, 0].flatten().numpy())
        assert best.fun < 1
        assert best.fun <= ours < best.fun + 0.02


def test_a_high_price_leaves_nothing() -> None:
    sizes = [float(linear_case(sparsity=price)[2].mean()) for price in (0.5, 5.0, 1000.0)]
    assert sizes[0] > sizes[1] > sizes[2] == 0


class SeesTheMiddle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network("plain").double()

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images[:, :, 4:12, 4:12])


@pytest.mark.parametrize("noise", ["gaussian", "uniform"])
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_what_the_network_does_not_see_is_empty(noise: str, output: str, images: Tensor) -> None:
    explainer = RDE(block=1, noise=noise, output=output, steps=30)
    masks = explainer.explain(Classifier(SeesTheMiddle()), images, TARGETS, SEEDS).heatmaps
    middle = masks[:, :, 4:12, 4:12].clone()
    masks[:, :, 4:12, 4:12] = 0
    assert (masks == 0).all()
    assert (middle.amax(dim=(2, 3)) > 0.5).all()
    assert (middle.amin(dim=(2, 3)) < 0.5).all()


@pytest.mark.parametrize("noise", ["gaussian", "uniform"])
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_distortion_and_its_gradient_are_the_equation(
    noise: str, output: str, images: Tensor
) -> None:
    module, streams = network("plain").double(), RandomStreams(SEEDS)
    classifier = Classifier(module)

    def drawn() -> Tensor:
        if noise == "gaussian":
            return streams.normal((3, 16, 16)).double()
        return classifier.normalisation.to_normalised(streams.uniform((3, 16, 16)).double())

    def f(image: Tensor, target: Tensor) -> Tensor:
        logits = module(image[None])[0]
        return (logits if output == "logit" else logits.softmax(0))[target]

    # Twelve targets, so that the rows do not go into one part.
    targets = TARGETS.repeat(1, 6)
    distortion = Distortion(
        RDE(noise=noise, output=output), classifier, images, targets, RandomStreams(SEEDS)
    )
    mask = torch.rand(3, 12, 16, 16, generator=torch.Generator().manual_seed(4)).double()
    gradient = distortion.gradient(mask, samples=2)
    only_noise, behind = [drawn() for _ in range(16)], [drawn() for _ in range(2)]
    for image, rank in ((0, 0), (1, 5), (2, 11)):
        x, target = images[image], targets[image, rank]
        moved = torch.stack([f(x, target) - f(n[image], target) for n in only_noise])
        expected = moved.square().mean()
        torch.testing.assert_close(distortion.of_noise[image, rank], expected.detach())
        s = mask[image, rank].clone().requires_grad_()
        moved = torch.stack([f(x, target) - f(s * x + (1 - s) * n[image], target) for n in behind])
        (slope,) = torch.autograd.grad(moved.square().mean(), s)
        torch.testing.assert_close(gradient[image, rank], slope)


def test_an_output_that_noise_does_not_move_needs_no_pixel() -> None:
    class Deaf(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 0 * images.mean(dim=(2, 3))

    masks = (
        RDE(steps=40).explain(Classifier(Deaf()), torch.randn(2, 3, 8, 8), TARGETS[1:, 1:]).heatmaps
    )
    assert torch.equal(masks, torch.zeros(2, 1, 8, 8))


def test_the_cost_is_what_it_says() -> None:
    class Counting(nn.Module):
        seen = 0

        def __init__(self) -> None:
            super().__init__()
            self.inner = network("plain")

        def forward(self, images: Tensor) -> Tensor:
            # What keeps a graph is gone back through too.
            Counting.seen += len(images) * (1 + images.requires_grad)
            return self.inner(images)

    explainer = RDE(steps=3, samples=2)
    explainer.explain(Classifier(Counting()), torch.randn(3, 3, 16, 16), TARGETS, SEEDS)
    assert Counting.seen == 3 * explainer.cost_in_forwards(2)


def test_blocks_share_a_value(images: Tensor) -> None:
    # 16 pixels are three blocks of five and a row of one.
    explain = heatmaps_of(RDE(block=5, steps=5), Classifier(network("plain").double()))
    masks = explain(images, TARGETS, SEEDS)
    corners = masks[:, :, ::5, ::5]
    assert (corners.flatten(2).std(dim=2) > 0).all()
    expected = corners.repeat_interleave(5, dim=2).repeat_interleave(5, dim=3)
    assert torch.equal(masks, expected[:, :, :16, :16])


def test_a_block_that_is_cut_off_is_one_too(images: Tensor) -> None:
    class LastPixel(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images[:, :, 15, 15].repeat(1, 2)

    masks = RDE(block=5, steps=40).explain(Classifier(LastPixel()), images, TARGETS, SEEDS).heatmaps
    assert (masks[:, :, 15, 15] > 0.3).all()
    masks[:, :, 15, 15] = 0
    assert (masks == 0).all()


def test_bad_input_is_named(images: Tensor) -> None:
    with pytest.raises(InputError, match=r"^explainer\.block=17: must be at most 16, the image's"):
        RDE(block=17).explain(Classifier(network("plain").double()), images, TARGETS)
    with pytest.raises(InputError, match=r"^explainer\.block=0: must be a whole number of at"):
        RDE(block=0)
    with pytest.raises(InputError, match=r"^explainer\.noise=pink: must be one of gaussian, uni"):
        RDE(noise="pink")
    with pytest.raises(InputError, match=r"^explainer\.output=label: must be one of logit, prob"):
        RDE(output="label")
    with pytest.raises(InputError, match=r"^explainer\.steps=0: must be a whole number of at"):
        RDE(steps=0)
    with pytest.raises(InputError, match=r"^explainer\.samples=0: must be a whole number of"):
        RDE(samples=0)
    with pytest.raises(InputError, match=r"^explainer\.sparsity=-1\.0: must be a number above 0$"):
        RDE(sparsity=-1.0)
    with pytest.raises(InputError, match=r"^explainer\.step_size=0\.0: must be a number above 0$"):
        RDE(step_size=0.0)

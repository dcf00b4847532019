"""Every method against its definition, in double precision: captum, or the paper's equation."""

from itertools import combinations
from math import comb, factorial

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from heatmaps import heatmaps_of
from networks import network
from oracles.deep_lift import contributions
from torch import nn

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import RandomStreams
from xai_sweep.explainers import (
    Cam,
    Captum,
    Deconvnet,
    DeepLift,
    FeatureAblation,
    GradCam,
    GradCamPlusPlus,
    GradientShap,
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    Occlusion,
    Saliency,
    SmoothGrad,
)
from xai_sweep.explainers.base import Explainer
from xai_sweep.explainers.baselines import baseline_like
from xai_sweep.explainers.perturbation.shapley import shapley_values
from xai_sweep.explainers.perturbation.superpixels import SuperpixelFinder, options_for
from xai_sweep.models import Classifier

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TARGETS = torch.tensor([[0, 3], [4, 1], [2, 0]])
SEEDS = torch.tensor([3, 1, 2])
NETWORKS = ["plain", "functional", "in_place", "gated"]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(
        3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(5)
    )


def explained(explainer: Explainer, name: str, images: torch.Tensor) -> torch.Tensor:
    return explainer.explain(Classifier(network(name).double()), images, TARGETS, SEEDS).heatmaps


def grid(images: torch.Tensor, count: int) -> torch.Tensor:
    """Superpixels as captum wants them."""
    return SuperpixelFinder("grid", options_for("grid", count))(images)[:, None]


def summed(theirs: torch.Tensor) -> torch.Tensor:
    return theirs.sum(dim=1).detach()


@pytest.mark.parametrize("name", NETWORKS)
def test_input_x_gradient_and_integrated_gradients(name: str, images: torch.Tensor) -> None:
    module = network(name).double()
    product = explained(InputXGradient(), name, images)
    integral = explained(IntegratedGradients(steps=12), name, images)
    for rank in range(2):
        target = TARGETS[:, rank]
        theirs = captum.attr.InputXGradient(module).attribute(
            images.clone().requires_grad_(), target=target
        )
        torch.testing.assert_close(product[:, rank], summed(theirs))
        theirs = captum.attr.IntegratedGradients(module).attribute(
            images, target=target, n_steps=12
        )
        torch.testing.assert_close(integral[:, rank], summed(theirs))


@pytest.mark.parametrize("baseline", ["mean", "black", "white"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("explainer", "tolerance"),
    [
        (lambda baseline: IntegratedGradients(baseline, steps=400), 2e-2),
        (DeepLift, 1e-9),
        (lambda baseline: KernelShap("grid", 9, 40, baseline), 1e-9),
    ],
    ids=["integrated_gradients", "deep_lift", "kernel_shap"],
)
def test_what_conserves_sums_to_the_difference(
    explainer: type[DeepLift], tolerance: float, name: str, baseline: str, images: torch.Tensor
) -> None:
    module = network(name).double()
    mean, std = (torch.tensor(each, dtype=torch.float64) for each in (MEAN, STD))
    level = {"mean": mean, "black": torch.zeros(3), "white": torch.ones(3)}[baseline]
    start = ((level - mean) / std)[:, None, None].expand_as(images)
    with torch.no_grad():
        expected = (module(images) - module(start)).gather(1, TARGETS)
    found = explainer(baseline).explain(Classifier(module), images, TARGETS, SEEDS)
    close = {"rtol": max(tolerance, 1e-5), "atol": max(tolerance, 1e-5)}
    torch.testing.assert_close(found.heatmaps.sum(dim=(2, 3)), expected, **close)
    with torch.no_grad():
        whole = module(images).gather(1, TARGETS)
        share = module(start).gather(1, TARGETS) / whole
    torch.testing.assert_close(
        found.facts["relevance_ratio"], found.heatmaps.sum(dim=(2, 3)) / whole
    )
    torch.testing.assert_close(found.facts["baseline_share"], share)


@pytest.mark.filterwarnings("ignore:Setting .*hooks")
def test_deconvnet_agrees_with_captum_on_modules(images: torch.Tensor) -> None:
    module = network("plain").double()
    ours = explained(Deconvnet(), "plain", images)
    for rank in range(2):
        theirs = captum.attr.Deconvolution(module).attribute(
            images.clone().requires_grad_(), target=TARGETS[:, rank]
        )
        torch.testing.assert_close(ours[:, rank], summed(theirs))


def stack(*layers: nn.Module) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), *layers, nn.Flatten(), nn.LazyLinear(5)).double()


class Apart(nn.Module):
    """Nothing, as another tensor: captum loses the rule of one of two hooked neighbours."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 1.0


@pytest.mark.filterwarnings("ignore:Setting .*hooks")
@pytest.mark.parametrize(
    "layers",
    [
        (nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ELU()),
        (nn.ReLU(), Apart(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ELU()),
        (nn.Conv2d(4, 4, 3), nn.MaxPool2d(2), Apart(), nn.ReLU()),
    ],
    ids=["elementwise", "pool between", "pool first"],
)
def test_deep_lift_agrees_with_captum_on_modules(
    layers: tuple[nn.Module, ...], images: torch.Tensor
) -> None:
    module = stack(*layers)
    module(images)
    ours = DeepLift("black").explain(Classifier(module), images, TARGETS).heatmaps
    start = baseline_like(images, "black", Classifier(module))
    for rank in range(2):
        theirs = captum.attr.DeepLift(module).attribute(
            images.clone().requires_grad_(), baselines=start, target=TARGETS[:, rank]
        )
        torch.testing.assert_close(ours[:, rank], summed(theirs))


@pytest.mark.parametrize(
    "layers",
    [
        (nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ELU()),
        (nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ELU()),
        (nn.MaxPool2d(2), nn.ReLU()),
        (nn.Sigmoid(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.MaxPool2d(2)),
        (nn.SiLU(), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 3), nn.Softmax(dim=1)),
        (nn.LayerNorm([4, 14, 14]), nn.Conv2d(4, 4, 3), nn.GELU()),
    ],
    ids=["elementwise", "pool between", "pool first", "pool last", "softmax", "layer norm"],
)
def test_deep_lift_is_the_paper_s(layers: tuple[nn.Module, ...], images: torch.Tensor) -> None:
    module = stack(*layers)
    module(images)
    start = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double()
    with pytest.MonkeyPatch.context() as patch:
        # A reference of one colour has ties in its maps, and which pixel wins them is no matter.
        patch.setattr("xai_sweep.explainers.relevance.deep_lift.baseline_like", lambda *_: start)
        ours = DeepLift().explain(Classifier(module), images, TARGETS).heatmaps
    for image in range(3):
        expected = contributions(module, images[image : image + 1], start, int(TARGETS[image, 0]))
        torch.testing.assert_close(ours[image, 0], expected[0].sum(dim=0))


def test_deep_lift_passes_multipliers_on_through_max_pool() -> None:
    # One window, reference 0: the pool rises from 0 to 3, the ReLU behind it from 0 to 3 - 1.
    class Pooled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(F.max_pool2d(x, 2) - 1).flatten(1)

    x = torch.tensor([[[[3.0, 1.0], [-2.0, 0.5]]]], dtype=torch.float64).repeat(2, 1, 1, 1)
    classifier = Classifier(Pooled(), mean=(0.0,), std=(1.0,))
    found = DeepLift().explain(classifier, x, torch.zeros(2, 1, dtype=torch.int64)).heatmaps
    expected = torch.tensor([[2.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(found[0, 0], expected)


class Attentive(nn.Module):
    """Windows of the image as tokens, attention, a selective gate, and maxima of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.query, self.head = nn.Linear(8, 24), nn.Linear(8, 5)
        self.gate = nn.Linear(8, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = F.gelu(self.stem(x))
        windows = maps.unflatten(3, (4, 4)).unflatten(2, (4, 4)).permute(0, 2, 4, 3, 5, 1)
        windows = windows.reshape(x.shape[0] * 16, 16, 8)
        q, k, v = self.query(windows).chunk(3, dim=-1)
        tokens = F.scaled_dot_product_attention(q, k, v) + F.normalize(windows, dim=-1)
        maps = tokens.reshape(x.shape[0], 256, 8)
        gates = self.gate(maps.mean(dim=1)).unflatten(1, (2, 1, 8)).softmax(dim=1)
        maps = (torch.stack([maps, maps.flip(1)], dim=1) * gates).sum(dim=1)
        pooled = maps.reshape(x.shape[0], 16, 16, 8).amax(dim=2).max(dim=1).values
        return self.head(torch.maximum(pooled, maps.mean(dim=1)))


def test_deep_lift_sums_to_the_difference_whatever_the_operation(images: torch.Tensor) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Attentive().double()
    found = DeepLift("black").explain(Classifier(module), images, TARGETS).heatmaps
    start = baseline_like(images, "black", Classifier(module))
    expected = (module(images) - module(start)).detach().gather(1, TARGETS)
    torch.testing.assert_close(found.sum(dim=(2, 3)), expected, rtol=1e-6, atol=1e-8)


def test_deep_lift_refuses_what_does_not_add_up(images: torch.Tensor) -> None:
    class Stopped(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.detach().square().mean(dim=(2, 3)) + x.amax(dim=(2, 3))

    message = r"^explainer=deep_lift: cannot explain this network: its contributions do not sum to"
    with pytest.raises(InputError, match=message):
        DeepLift().explain(Classifier(Stopped()), images, torch.tensor([[0], [1], [2]]))


def test_functional_rectifiers_count(images: torch.Tensor) -> None:
    modules, functions = network("plain").double(), network("functional").double()
    functions.load_state_dict(modules.state_dict())
    for explainer in (Deconvnet(), DeepLift(), Captum("DeepLift"), Captum("GuidedBackprop")):
        ours = explainer.explain(Classifier(modules), images, TARGETS).heatmaps
        torch.testing.assert_close(
            explainer.explain(Classifier(functions), images, TARGETS).heatmaps, ours
        )
    for explainer in (Deconvnet(), GuidedBackprop()):
        ours = explainer.explain(Classifier(functions), images, TARGETS).heatmaps
        assert not torch.allclose(
            ours, Saliency().explain(Classifier(functions), images, TARGETS).heatmaps
        )


@pytest.mark.filterwarnings("ignore:Setting .*hooks")
def test_guided_grad_cam_agrees_with_captum(images: torch.Tensor) -> None:
    module = network("plain").double()
    ours = explained(GuidedGradCam(), "plain", images)
    method = captum.attr.GuidedGradCam(module, module.features[4])
    for rank in range(2):
        theirs = method.attribute(
            images.clone().requires_grad_(),
            target=TARGETS[:, rank],
            interpolate_mode="bilinear",
        )
        torch.testing.assert_close(ours[:, rank], summed(theirs))


def test_grad_cam_plus_plus_is_the_paper_s_equation(images: torch.Tensor) -> None:
    module = network("plain").double()
    ours = explained(GradCamPlusPlus(), "plain", images)
    with torch.no_grad():
        maps = module.features(images)
    for image in range(3):
        target = int(TARGETS[image, 0])

        def score(flat: torch.Tensor, image: int = image, target: int = target) -> torch.Tensor:
            mean = flat.view_as(maps[image]).mean(dim=(1, 2))
            return module.classifier(mean)[target].exp()

        # One derivative after another in each element of A by itself, no closed form.
        flat, derivatives = maps[image].flatten(), []
        for element in torch.eye(flat.numel(), dtype=torch.float64):
            step = torch.zeros((), dtype=torch.float64, requires_grad=True)
            value, found = score(flat + step * element), []
            for _ in range(3):
                (value,) = torch.autograd.grad(value, step, create_graph=True)
                found.append(value.detach())
            derivatives.append(torch.stack(found))
        first, second, third = torch.stack(derivatives, dim=1).view(3, *maps[image].shape)
        total = maps[image].sum(dim=(1, 2), keepdim=True)
        alpha = second / (2 * second + total * third)
        weights = (alpha * first.clamp(min=0)).sum(dim=(1, 2), keepdim=True)
        expected = (weights * maps[image]).sum(dim=0).clamp(min=0) / score(flat)
        enlarged = F.interpolate(
            expected.detach()[None, None], size=(16, 16), mode="bilinear", align_corners=False
        )
        torch.testing.assert_close(ours[image, 0], enlarged[0, 0])


def test_cam_is_the_textbook_s_and_grad_cam_up_to_a_constant(images: torch.Tensor) -> None:
    module = network("plain").double()
    ours = explained(Cam(), "plain", images)
    with torch.no_grad():
        maps = module.features(images)
        expected = torch.einsum("bkn,bnij->bkij", module.classifier.weight[TARGETS], maps)
    enlarged = F.interpolate(expected, size=(16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(ours, enlarged)
    pixels = maps.shape[-1] * maps.shape[-2]
    grad_cam = explained(GradCam(layer="features.4", polarity="both"), "plain", images)
    torch.testing.assert_close(ours, grad_cam * pixels)


def test_cam_on_vgg_is_refused() -> None:
    classifier = Classifier(torchvision.models.vgg11(weights=None, init_weights=False))
    with pytest.raises(
        InputError, match=r"^explainer=cam: needs .* global average pooling"
    ) as info:
        Cam().explain(classifier, torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, dtype=torch.int64))
    assert "relu (classifier.4), dropout (classifier.5), linear (classifier.6)" in str(info.value)


@pytest.mark.parametrize(("window", "stride"), [(5, 3), (4, 4), (16, 1)])
def test_occlusion_agrees_with_captum(window: int, stride: int, images: torch.Tensor) -> None:
    module = network("plain").double()
    ours = explained(Occlusion(window, stride, "mean"), "plain", images)
    for rank in range(2):
        theirs = captum.attr.Occlusion(module).attribute(
            images,
            sliding_window_shapes=(3, window, window),
            strides=(3, stride, stride),
            target=TARGETS[:, rank],
        )
        # captum adds up in single precision.
        theirs = theirs[:, 0].detach().double()
        torch.testing.assert_close(ours[:, rank], theirs, rtol=1e-4, atol=1e-6)


def test_feature_ablation_agrees_with_captum(images: torch.Tensor) -> None:
    module = network("plain").double()
    ours = explained(FeatureAblation("grid", 9), "plain", images)
    mask = grid(images, 9)
    for rank in range(2):
        theirs = captum.attr.FeatureAblation(module).attribute(
            images, feature_mask=mask, target=TARGETS[:, rank]
        )
        # captum adds up in single precision.
        theirs = theirs[:, 0].detach().double()
        torch.testing.assert_close(ours[:, rank], theirs, rtol=1e-4, atol=1e-6)


def test_weighted_least_squares_gives_shapley_values() -> None:
    players, generator = 5, torch.Generator().manual_seed(0)
    game = torch.randn(2**players, dtype=torch.float64, generator=generator)

    def worth(members: tuple[int, ...]) -> float:
        return float(game[sum(1 << member for member in members)])

    exact = torch.zeros(players, dtype=torch.float64)
    some = [m for size in range(players + 1) for m in combinations(range(players), size)]
    for player in range(players):
        for members in some:
            if player not in members:
                share = factorial(len(members)) * factorial(players - len(members) - 1)
                gain = worth(tuple(sorted((*members, player)))) - worth(members)
                exact[player] += share / factorial(players) * gain
    proper = [members for members in some if 0 < len(members) < players]
    coalitions = torch.zeros(1, len(proper), players, dtype=torch.bool)
    for row, members in enumerate(proper):
        coalitions[0, row, list(members)] = True
    kernel = [(players - 1) / (comb(players, len(m)) * len(m) * (players - len(m))) for m in proper]
    found = shapley_values(
        coalitions,
        torch.tensor([kernel], dtype=torch.float64),
        torch.tensor([[[worth(members)] for members in proper]], dtype=torch.float64),
        nothing=torch.tensor([[worth(())]], dtype=torch.float64),
        everything=torch.tensor([[worth(tuple(range(players)))]], dtype=torch.float64),
    )
    torch.testing.assert_close(found[0, 0], exact)


def test_kernel_shap_comes_close_to_captum_s_shapley_values(images: torch.Tensor) -> None:
    module = network("plain").double()
    ours = explained(KernelShap("grid", 4, 4000), "plain", images)
    mask = grid(images, 4)
    theirs = captum.attr.ShapleyValues(module).attribute(
        images, feature_mask=mask[:1], target=TARGETS[:, 0]
    )
    # captum paints the value, and here it is spread over the 64 pixels of a quarter.
    expected = theirs[:, 0].detach().double() / 64
    torch.testing.assert_close(
        ours[:, 0], expected, rtol=0, atol=0.05 * float(expected.abs().max())
    )


def test_smooth_grad_is_the_mean_over_its_noise(images: torch.Tensor) -> None:
    ours = explained(SmoothGrad(samples=3, noise=0.2), "plain", images)
    streams, total = RandomStreams(SEEDS), torch.zeros_like(ours)
    for _ in range(3):
        sigma = 0.2 * (images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3)))
        noise = sigma[:, None, None, None] * streams.normal((3, 16, 16))
        total += explained(Saliency(), "plain", images + noise)
    torch.testing.assert_close(ours, total / 3)


@pytest.mark.parametrize("name", ["plain", "gated"])
def test_gradient_shap_comes_close_to_integrated_gradients(name: str, images: torch.Tensor) -> None:
    ours = explained(GradientShap("mean", samples=2000), name, images)
    expected = explained(IntegratedGradients(steps=200), name, images)
    assert (ours - expected).norm() < 0.05 * expected.norm()


def test_a_method_of_captum_by_name(images: torch.Tensor) -> None:
    module = network("plain").double()
    given = {"sliding_window_shapes": [3, 5, 5], "strides": [3, 3, 3]}
    ours = explained(Captum("Occlusion", given), "plain", images)
    theirs = captum.attr.Occlusion(module).attribute(
        images, sliding_window_shapes=(3, 5, 5), strides=(3, 3, 3), target=TARGETS[:, 1]
    )
    torch.testing.assert_close(ours[:, 1], summed(theirs).double())


def test_captum_s_own_dice_are_put_back(images: torch.Tensor) -> None:
    torchs, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    explainer = Captum("GradientShap", {"stdevs": 0.1})
    assert not explainer.is_deterministic
    explain = heatmaps_of(explainer, Classifier(network("plain").double()))
    together = explain(images, TARGETS, SEEDS)
    torch.testing.assert_close(explain(images[1:], TARGETS[1:], SEEDS[1:]), together[1:])
    assert not torch.allclose(explain(images, TARGETS, SEEDS + 1), together)
    assert torch.equal(torchs, torch.get_rng_state())
    assert (numpys == np.random.get_state()[1]).all()  # type: ignore[index]


def test_bad_input_is_named(images: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"^explainer.window=17: must be at most 16, the image"):
        explained(Occlusion(window=17), "plain", images)
    with pytest.raises(InputError, match=r"^explainer.stride=9: must be from 1 to 4, the window"):
        Occlusion(window=4, stride=9)
    with pytest.raises(InputError, match=r"^explainer.method=Sailency: must be one of Deconv"):
        Captum("Sailency")
    with pytest.raises(InputError, match=r"^explainer.parameters.steps=3: .* n_steps"):
        Captum("IntegratedGradients", {"steps": 3})
    with pytest.raises(InputError, match=r"Occlusion needs sliding_window_shapes too"):
        Captum("Occlusion")
    with pytest.raises(
        InputError, match=r"^explainer.method=DeepLift: has no rule for (hardtanh|relu6)"
    ):
        explained(Captum("DeepLift"), "gated", images)
    with pytest.raises(InputError, match=r"^explainer.baseline=red: must be one of mean, black"):
        IntegratedGradients("red")
    with pytest.raises(InputError, match=r"^explainer.samples=3: must be even"):
        KernelShap(samples=3)
    with pytest.raises(InputError, match=r"^explainer.segmentation=hexagons: must be one of"):
        FeatureAblation("hexagons")

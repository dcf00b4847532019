"""PatternNet and PatternAttribution against their definition and on the paper's toy problem."""

from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest
import torch
from heatmaps import heatmaps_of
from networks import network
from oracles.patterns import patterns
from safetensors.torch import save
from torch import Tensor, nn

from xai_sweep.core.errors import InputError
from xai_sweep.explainers import PatternAttribution, PatternNet, Saliency
from xai_sweep.explainers.relevance.pattern_method import PatternMethod
from xai_sweep.models import Classifier
from xai_sweep.study.fitting import from_file

METHODS = [PatternNet, PatternAttribution]
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Conv2d(4, 6, 3),
    "stride and padding": lambda: nn.Conv2d(4, 5, 3, stride=2, padding=(2, 1)),
    "groups": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4),
    "dilation": lambda: nn.Conv2d(4, 5, (1, 3), dilation=2),
    "linear": lambda: nn.Linear(4 * 7 * 6, 9),
}


def random(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return module.double().eval()


def some_images(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def single(values: Tensor) -> Classifier:
    """A network with one neuron, without bias."""
    layer = nn.Linear(len(values), 1, bias=False)
    layer.weight.data = values[None].clone()
    return Classifier(nn.Sequential(nn.Flatten(), layer).double().eval())


def cosine(first: Tensor, second: Tensor) -> float:
    return float(nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0))


# ---- the linear toy problem of section 3: x = a_s y + a_d e, and w^T x = y ---------------------


@pytest.mark.parametrize("estimator", ["two_component", "linear"])
def test_patterns_find_the_signal_and_the_gradient_does_not(estimator: str) -> None:
    generator = torch.Generator().manual_seed(2)
    signal, distractor = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    filter_out = torch.tensor([1.0, -1.0], dtype=torch.float64)  # w^T a_s = 1, w^T a_d = 0
    y = torch.rand(6_000, 1, dtype=torch.float64, generator=generator) * 2 - 1
    noise = torch.randn(6_000, 1, dtype=torch.float64, generator=generator)
    x = (y * signal + noise * distractor).view(-1, 1, 1, 2)
    classifier = single(filter_out)
    method = PatternNet(estimator=estimator, scale="none").fit(classifier, x.split(1500))
    explain = heatmaps_of(method, classifier)
    found = explain(x[:5], torch.zeros(5, 1, dtype=torch.int64))[:, 0]
    expected = (y * signal)[:5]
    # The signal of every image in its own size; the distractor is gone.
    assert (found.flatten(1) - expected).abs().max() < 0.05
    gradient = Saliency().explain(classifier, x[:5], torch.zeros(5, 1, dtype=torch.int64)).heatmaps
    assert cosine(gradient[0, 0], signal) < 0.75
    assert abs(cosine(found[0], signal)) > 0.998


def test_the_two_component_estimator_tells_the_open_side_of_a_relu_from_the_closed_one() -> None:
    generator = torch.Generator().manual_seed(3)
    up = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    down = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    y = torch.randn(6_000, 1, dtype=torch.float64, generator=generator)
    noise = torch.randn(6_000, 1, dtype=torch.float64, generator=generator)
    distractor = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    x = torch.where(y > 0, y * up, y * down) + noise * distractor
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(3, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False)
    )
    net[1].weight.data = torch.tensor([[1.0, -1.0, 1.0]])
    net[3].weight.data = torch.tensor([[1.0]])
    classifier = Classifier(net.double().eval())
    images, first = x.view(-1, 1, 1, 3), torch.zeros(1, 1, dtype=torch.int64)
    positive = images[y.flatten() > 1][:1]
    found = {
        name: PatternNet(estimator=name)
        .fit(classifier, [images])
        .explain(classifier, positive, first)
        .heatmaps
        for name in ("two_component", "linear")
    }
    assert cosine(found["two_component"], up) > 0.998
    assert 0.5 < cosine(found["linear"], up) < 0.8  # half of it is the other side's direction


# ---- patterns by their equation ---------------------------------------------------------------


def fitted_layers(module: nn.Module, images: Tensor, estimator: str) -> dict[str, Tensor]:
    method = PatternNet(estimator=estimator).fit(Classifier(module), [images])
    return dict(method.patterns.tensors)


@pytest.mark.parametrize("estimator", ["two_component", "linear"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_pattern_is_its_equation_patch_by_patch(kind: str, estimator: str) -> None:
    layer = LAYERS[kind]()
    flatten = [nn.Flatten()] if kind == "linear" else []
    body = nn.Sequential(*flatten, layer, nn.ReLU(), nn.Flatten())
    width = body(torch.zeros(1, 4, 7, 6)).shape[1]
    module = random(nn.Sequential(*body, nn.Linear(width, 2)))
    images = some_images(3, 4, 7, 6) + 0.5
    first, last = fitted_layers(module, images, estimator).values()
    inputs = images.flatten(1) if kind == "linear" else images
    torch.testing.assert_close(first, patterns(layer, inputs, estimator == "two_component"))
    # No ReLU follows the last layer, so there is one component only.
    with torch.no_grad():
        torch.testing.assert_close(last, patterns(module[-1], module[:-1](images), False))


def test_single_precision_is_close_to_double() -> None:
    images = some_images(12, 3, 16, 16) + 1
    single_precision = network("plain")
    few = fitted_layers(single_precision, images.float(), "two_component")
    many = fitted_layers(network("plain").double(), images, "two_component")
    for name, pattern in many.items():
        assert few[name].dtype == torch.float32
        assert (few[name] - pattern).norm() < 1e-4 * pattern.norm()


def test_a_neuron_that_never_opens_or_never_changes_has_no_pattern() -> None:
    module = random(nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2)))
    module[0].bias.data[0] = -1000
    module[0].weight.data[1] = 0
    module[0].bias.data[1] = 0.7
    first, _ = fitted_layers(module, some_images(4, 3, 8, 8), "two_component").values()
    assert torch.equal(first[:2], torch.zeros_like(first[:2]))
    assert first[2].abs().min() > 0


# ---- the way back -----------------------------------------------------------------------------


def by_hand(method: PatternMethod, module: nn.Sequential, image: Tensor, target: int) -> Tensor:
    """Back from the logit through a chain, layer by layer, with other weights."""
    weights = iter(reversed(list(method.patterns.tensors.values())))
    inputs = [image[None]]
    for layer in module:
        inputs.append(layer(inputs[-1]).detach())
    back = torch.zeros_like(inputs[-1])
    back[0, target] = inputs[-1][0, target]
    for layer, a in zip(reversed(module), reversed(inputs[:-1]), strict=True):
        leaf = a.clone().requires_grad_()
        if isinstance(layer, nn.Conv2d | nn.Linear):
            pattern = next(weights)
            other = pattern if type(method) is PatternNet else pattern * layer.weight.detach()
            moved = torch.func.functional_call(layer, {"weight": other}, leaf)
        else:
            moved = layer(leaf)
        (back,) = torch.autograd.grad(moved, leaf, back)
    return back[0]


@pytest.mark.parametrize("kind", METHODS)
def test_the_way_back_is_the_gradient_with_other_weights(kind: type[PatternMethod]) -> None:
    module = random(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, groups=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(8, 6),
            nn.ReLU(),
            nn.Linear(6, 4),
        )
    )
    images, targets = some_images(3, 3, 15, 15), torch.tensor([[0, 3], [1, 2], [3, 0]])
    made = kind() if kind is PatternAttribution else PatternNet(scale="none")
    method = made.fit(Classifier(module), [some_images(20, 3, 15, 15, seed=4)])
    maps = method.signal(Classifier(module), images, targets)
    for image, chosen, found in zip(images, targets.tolist(), maps, strict=True):
        for rank, target in enumerate(chosen):
            expected = by_hand(method, module, image, target)
            assert expected.abs().max() > 0
            torch.testing.assert_close(found[rank], expected)


def test_patterns_equal_to_weights_give_the_gradient_times_the_logit() -> None:
    module = network("functional").double()
    classifier = Classifier(module)
    images, targets = some_images(4, 3, 16, 16), torch.tensor([[1], [0], [4], [2]])
    method = PatternNet(scale="none").fit(classifier, [images])
    method.patterns.tensors.update(
        {
            name: weight.detach()
            for name, weight in zip(
                method.patterns.tensors,
                (module.features[0].weight, module.features[3].weight, module.classifier.weight),
                strict=True,
            )
        }
    )
    logits = module(images).detach().gather(1, targets)[:, :, None, None]
    gradient = Saliency().explain(classifier, images, targets).heatmaps
    torch.testing.assert_close(
        method.explain(classifier, images, targets).heatmaps, gradient * logits
    )


def test_unit_scale_changes_a_chain_by_one_constant() -> None:
    module = network("plain").double()
    classifier, images = Classifier(module), some_images(4, 3, 16, 16)
    targets = torch.tensor([[1, 2], [0, 1], [4, 4], [2, 0]])
    method = PatternNet(scale="none").fit(classifier, [images])
    plain = method.explain(classifier, images, targets).heatmaps
    unit = PatternNet(patterns=method.patterns).explain(classifier, images, targets).heatmaps
    torch.testing.assert_close(unit * prod(method.patterns.growth.values()), plain)


def test_unit_scale_stays_in_range_where_the_plain_one_overflows() -> None:
    deep = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU())
    for _ in range(40):
        deep += nn.Sequential(nn.Conv2d(64, 64, 1), nn.ReLU())
    module = nn.Sequential(*deep, nn.Flatten(), nn.Linear(1024, 2)).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter, generator=generator)
    classifier, images = Classifier(module), some_images(6, 3, 4, 4).float()
    first = torch.zeros(6, 1, dtype=torch.int64)
    method = PatternNet(scale="none").fit(classifier, [images])
    assert not method.explain(classifier, images, first).heatmaps.isfinite().all()
    unit = PatternNet(patterns=method.patterns).explain(classifier, images, first).heatmaps
    assert unit.isfinite().all()
    assert 1e-3 < unit.abs().max() < 1e3


def test_batchnorm_is_fused_before_patterns_are_sought() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    module = random(nn.Sequential(*plain, nn.Linear(144, 2)))
    module[1].running_var.uniform_(0.5, 2)
    images = some_images(5, 3, 8, 8)
    first, _ = fitted_layers(module, images, "two_component").values()
    scale = module[1].weight / (module[1].running_var + module[1].eps).sqrt()
    fused = nn.Conv2d(3, 4, 3).double()
    fused.weight.data = (module[0].weight * scale[:, None, None, None]).detach()
    shift = (module[0].bias - module[1].running_mean) * scale + module[1].bias
    fused.bias.data = shift.detach()
    torch.testing.assert_close(first, patterns(fused, images, True))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("layer", "what"),
    [
        (nn.SiLU(), r"aten.silu.default at 1"),
        (nn.Tanh(), r"aten.tanh.default at 1"),
        (nn.LayerNorm([4, 6, 6]), r"aten.layer_norm.default at 1"),
        (nn.Softmax(dim=1), r"aten.softmax.int at 1"),
    ],
    ids=["silu", "tanh", "layer norm", "softmax"],
)
def test_networks_without_patterns_are_refused(
    method: type[PatternMethod], layer: nn.Module, what: str
) -> None:
    module = random(nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.Flatten(), nn.Linear(144, 5)))
    message = rf"^explainer={method.__name__}: is defined for linear layers and ReLUs; .* {what};"
    with pytest.raises(InputError, match=message):
        method().fit(Classifier(module), [some_images(4, 3, 8, 8)])


# ---- fitting ----------------------------------------------------------------------------------


def test_how_images_come_in_batches_changes_nothing() -> None:
    images = some_images(19, 3, 16, 16).float()
    classifier = Classifier(network("gated"))
    whole = PatternNet().fit(classifier, [images]).patterns
    parts = PatternNet().fit(classifier, images.split(3)).patterns
    assert whole.images == parts.images == 19
    for name, pattern in whole.tensors.items():
        assert torch.equal(pattern, parts.tensors[name])


def test_a_limit_takes_the_first_images() -> None:
    images = some_images(10, 3, 16, 16)
    classifier = Classifier(network("plain").double())
    few = PatternNet(fit_limit=4).fit(classifier, images.split(3)).patterns
    same = PatternNet().fit(classifier, [images[:4]]).patterns
    assert few.images == 4
    assert all(torch.equal(few.tensors[name], same.tensors[name]) for name in same.tensors)


@pytest.mark.parametrize("kind", METHODS)
def test_a_file_gives_the_same_maps(kind: type[PatternMethod], tmp_path: Path) -> None:
    images, targets = some_images(3, 3, 16, 16).float(), torch.tensor([[0], [1], [2]])
    classifier = Classifier(network("in_place"))
    method = kind().fit(classifier, [images])
    expected = method.explain(classifier, images, targets).heatmaps
    file = tmp_path / "patterns.safetensors"
    file.write_bytes(method.to_bytes())
    named = kind(patterns=str(file))
    assert not named.is_fitted
    for again in (kind().restored(file.read_bytes(), str(file)), from_file(named)):
        assert again.is_fitted
        assert torch.equal(again.explain(classifier, images, targets).heatmaps, expected)
    assert named.identity()["explainer.patterns"].startswith("sha256:")
    assert method.identity() == {}
    assert from_file(method) is method


def test_works_inside_inference_mode() -> None:
    classifier, targets = Classifier(network("plain")), torch.tensor([[0], [1]])
    images = some_images(2, 3, 16, 16).float()
    expected = PatternNet().fit(classifier, [images]).explain(classifier, images, targets).heatmaps
    with torch.inference_mode():
        inside = PatternNet().fit(classifier, [images.clone()])
        assert torch.equal(inside.explain(classifier, images.clone(), targets).heatmaps, expected)


# ---- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", METHODS)
def test_without_a_fit_it_says_so(kind: type[PatternMethod]) -> None:
    with pytest.raises(InputError) as caught:
        kind().prepare(Classifier(network("plain")), some_images(2, 3, 16, 16).float())
    assert str(caught.value) == (
        f"explainer.patterns=null: {kind.__name__} must be fitted first: a run does so, or reads "
        f"the file; in Python {kind.__name__}().fit(classifier, batches), or "
        f"{kind.__name__}().restored(content, name) for a file"
    )


def test_bad_input_is_named() -> None:
    plain = Classifier(network("plain"))
    images = some_images(2, 3, 16, 16).float()
    method = PatternNet().fit(plain, [images])
    with pytest.raises(InputError, match=r"^explainer.patterns=3 layers: .* with other weights"):
        method.prepare(Classifier(network("plain", seed=1)), images)
    with pytest.raises(InputError, match=r"^explainer=PatternNet: needs at least one image"):
        PatternNet().fit(plain, [])
    with pytest.raises(InputError, match=r"^explainer.estimator=best: must be one of two_comp"):
        PatternNet(estimator="best")
    with pytest.raises(InputError, match=r"^explainer.scale=big: must be one of unit, none"):
        PatternNet(scale="big")
    with pytest.raises(InputError, match=r"^explainer.fit_limit=0: must be a whole number of at l"):
        PatternNet(fit_limit=0)
    with pytest.raises(InputError, match=r"^explainer.patterns=3: must be the path of a file"):
        PatternNet(patterns=3)
    with pytest.raises(InputError, match=r"^explainer.patterns=nowhere: there is no such file"):
        PatternNet(patterns="nowhere").identity()
    with pytest.raises(InputError, match=r"^explainer.patterns=named: PatternNet must be fitted f"):
        PatternNet(patterns="named").prepare(plain, images)
    for torn in (method.to_bytes()[:-7], b"", b"nothing of the kind", b"\0" * 64):
        with pytest.raises(InputError, match=r"^explainer.patterns=torn: cannot be read: "):
            PatternNet().restored(torn, "torn")
    with pytest.raises(InputError, match=r"^explainer.patterns=other: must be a file of fitted pa"):
        PatternNet().restored(save({"weight": torch.zeros(2)}), "other")
    with pytest.raises(InputError, match=r"^explainer.estimator=linear: must be two_component, as"):
        PatternNet(estimator="linear", patterns=method.patterns).prepare(plain, images)

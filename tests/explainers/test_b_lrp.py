"""B-LRP: percentiles are numpy's, every draw is LRP of a network with silent neurons."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from heatmaps import heatmaps_of
from networks import NETWORKS, network
from safetensors.torch import save_file
from torch import Tensor, nn

from xai_sweep.core.errors import InputError
from xai_sweep.core.seeds import RandomStreams
from xai_sweep.explainers import BLRP, LRP
from xai_sweep.explainers.relevance.b_lrp import percentile_maps
from xai_sweep.explainers.relevance.engine import (
    Propagation,
    linear_dropouts,
    own_dropouts,
    with_masks,
)
from xai_sweep.models import Classifier

TARGETS = torch.tensor([[0, 3], [4, 1], [2, 0]])
SEEDS = torch.tensor([3, 1, 2])
ZERO = [{"rule": "zero"}]


@pytest.fixture
def images() -> Tensor:
    return torch.randn(
        3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(5)
    )


class Dropping(nn.Module):
    """Channels, neurons and a function that drop; given masks take their place."""

    def __init__(self, always: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.channels = nn.Dropout2d(0.3)
        self.hidden = nn.Linear(8, 6)
        self.neurons = nn.Dropout(0.4)
        self.nothing = nn.Dropout(0.0)
        self.head = nn.Linear(6, 5)
        self.always = always

    def forward(self, images: Tensor, masks: list[Tensor] | None = None) -> Tensor:
        drops: list[Callable[[Tensor], Tensor]] = [
            self.channels,
            self.neurons,
            lambda x: F.dropout(x, 0.5, self.always or self.training),
        ]
        if masks is not None:
            drops = [lambda x, mask=mask: x * mask for mask in masks]
        maps = drops[0](F.relu(self.stem(images))).mean(dim=(2, 3))
        return self.head(self.nothing(drops[2](F.relu(drops[1](self.hidden(maps))))))


def dropping(always: bool = False) -> Dropping:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Dropping(always).double().eval()


@pytest.mark.parametrize("count", [2, 5, 50])
def test_percentiles_are_those_of_numpy(count: int) -> None:
    draws = torch.randn(count, 2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    percents = [0.0, 5.0, 25.0, 37.3, 50.0, 75.0, 95.0, 100.0]
    expected = torch.from_numpy(np.percentile(draws.numpy(), percents, axis=0))
    torch.testing.assert_close(percentile_maps(draws, percents), expected)
    draws[1, 0, 0, 0, 0] = torch.nan
    assert (percentile_maps(draws, percents).isnan().sum(dim=(1, 2, 3, 4)) == 1).all()


@pytest.mark.parametrize("posterior", ["dropout", "added_dropout"])
def test_percentiles_of_the_draws_in_order(posterior: str, images: Tensor) -> None:
    explainer, classifier = BLRP(posterior, percentile=75.0, draws=20), Classifier(dropping())
    maps = explainer.percentiles(classifier, images, TARGETS, SEEDS)
    assert maps.shape == (5, 3, 2, 16, 16)
    draws = np.stack(list(explainer.heatmaps(classifier, images, TARGETS, SEEDS)))
    assert len(draws) == 20
    expected = torch.from_numpy(np.percentile(draws, [5, 25, 50, 75, 95], axis=0))
    torch.testing.assert_close(maps, expected)
    assert (maps.diff(dim=0) >= 0).all()
    assert (maps[-1] > maps[0]).any()
    found = explainer.explain(classifier, images, TARGETS, SEEDS)
    assert torch.equal(found.heatmaps, maps[3])
    assert not found.facts


def test_a_draw_is_lrp_of_the_network_with_silent_neurons(images: Tensor) -> None:
    module, streams = dropping(), RandomStreams(SEEDS)
    explainer = BLRP(draws=4, rules=ZERO)
    silent = 0
    for drawn in explainer.heatmaps(Classifier(module), images, TARGETS, SEEDS):
        masks = [
            (streams.uniform(shape) >= rate).double() / (1 - rate)
            for shape, rate in (((8, 1, 1), 0.3), ((6,), 0.4), ((6,), 0.5))
        ]
        silent += sum(int((mask == 0).sum()) for mask in masks)
        # LRP-0 of a network of ReLUs is input x gradient.
        pixels = images.clone().requires_grad_()
        logits = module(pixels, masks).gather(1, TARGETS)
        for rank in range(2):
            (slope,) = torch.autograd.grad(logits[:, rank].sum(), pixels, retain_graph=True)
            torch.testing.assert_close(drawn[:, rank], (slope * images).sum(dim=1))
    assert silent > 0


def test_masks_are_those_of_the_image(images: Tensor) -> None:
    explainer, classifier = BLRP(draws=6), Classifier(dropping())
    together = torch.stack(list(explainer.heatmaps(classifier, images, TARGETS, SEEDS)))
    for order in ([2, 0], [1], [0, 1, 1, 2]):
        given = images[order], TARGETS[order], SEEDS[order]
        apart = torch.stack(list(explainer.heatmaps(classifier, *given)))
        torch.testing.assert_close(apart, together[:, order], rtol=1e-9, atol=1e-12)
    # The first of more draws are the same.
    more = BLRP(draws=8).heatmaps(Classifier(dropping()), images, TARGETS, SEEDS)
    assert torch.equal(torch.stack(list(more))[:6], together)
    other = torch.stack(list(explainer.heatmaps(classifier, images, TARGETS, SEEDS + 1)))
    assert not torch.allclose(other, together)


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_of_rate_0_is_lrp(name: str, images: Tensor) -> None:
    classifier = Classifier(network(name).double())
    expected = LRP().explain(classifier, images, TARGETS).heatmaps
    for percentile in (5.0, 50.0, 95.0):
        explainer = BLRP("added_dropout", percentile, draws=3, rate=0.0)
        found = explainer.explain(classifier, images, TARGETS, SEEDS)
        assert torch.equal(found.heatmaps, expected)


class GatedByLinear(nn.Module):
    """A linear layer without relevance: it only says how much passes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.gate = nn.Linear(4, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, images: Tensor, masks: list[Tensor] | None = None) -> Tensor:
        before = masks or [1.0, 1.0]
        maps = F.relu(self.stem(images))
        gate = torch.sigmoid(self.gate(maps.mean(dim=(2, 3)) * before[0]))
        return self.head((maps * gate[:, :, None, None]).mean(dim=(2, 3)) * before[1])


def test_dropout_is_added_before_every_linear_layer(images: Tensor) -> None:
    module = GatedByLinear().double().eval()
    plan = LRP().propagation(Classifier(module), images).plan
    places = linear_dropouts(plan, 0.5)
    assert [place.path for place in places] == ["gate", "head"]
    assert [place.shape for place in places] == [(4,), (4,)]
    masks = [place.mask(torch.rand(3, 4)).double() for place in places]
    drawn = with_masks(plan, {p.step: m for p, m in zip(places, masks, strict=True)})
    torch.testing.assert_close(Propagation(drawn).logits(images), module(images, masks))


@pytest.mark.parametrize("rule", ["zero", "epsilon", "gamma", "flat", "w_square"])
def test_what_is_not_relevant_is_accounted_for(rule: str, images: Tensor) -> None:
    explainer, classifier = LRP(rules=[{"rule": rule}]), Classifier(dropping())
    plan, streams = explainer.propagation(classifier, images).plan, RandomStreams(SEEDS)
    masks = {p.step: p.mask(streams.uniform(p.shape)).double() for p in own_dropouts(plan)}
    drawn = Propagation(with_masks(plan, masks))
    found = explainer.relevance(classifier, images, TARGETS, accounts=True, propagation=drawn)
    total = found.maps.sum(dim=(2, 3, 4)) + found.absorbed + found.lost
    torch.testing.assert_close(total, found.logits)


def test_a_network_that_always_drops_is_repeatable_too(images: Tensor) -> None:
    explain = heatmaps_of(BLRP(draws=3), Classifier(dropping(always=True)))
    before = torch.get_rng_state()
    first = explain(images, TARGETS, SEEDS)
    assert torch.equal(first, explain(images, TARGETS, SEEDS))
    assert torch.equal(before, torch.get_rng_state())
    usual = heatmaps_of(BLRP(draws=3), Classifier(dropping()))
    assert torch.equal(first, usual(images, TARGETS, SEEDS))


def saved(folder: Path, *seeds: int) -> list[str]:
    files = []
    for number, seed in enumerate(seeds):
        state, name = network("in_place", seed).state_dict(), str(folder / f"{number}")
        if number % 2:
            files.append(f"{name}.safetensors")
            save_file(state, files[-1])
        else:
            files.append(f"{name}.pt")
            torch.save(state, files[-1])
    return files


def test_an_ensemble_of_equal_members_is_lrp(tmp_path: Path) -> None:
    images, classifier = torch.randn(3, 3, 16, 16), Classifier(network("in_place"))
    expected = LRP().explain(classifier, images, TARGETS).heatmaps
    for percentile in (5.0, 50.0, 95.0):
        explainer = BLRP("ensemble", percentile, members=saved(tmp_path, 0, 0, 0))
        assert torch.equal(explainer.explain(classifier, images, TARGETS).heatmaps, expected)


def test_an_ensemble_draws_its_members(tmp_path: Path) -> None:
    images, module = torch.randn(3, 3, 16, 16), network("in_place").train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    explainer = BLRP("ensemble", members=saved(tmp_path, 1, 2, 3))
    assert explainer.is_deterministic
    assert explainer.cost_in_forwards(4) == 15
    classifier = Classifier(module)
    for seed, drawn in zip((1, 2, 3), explainer.heatmaps(classifier, images, TARGETS), strict=True):
        member = heatmaps_of(LRP(), Classifier(network("in_place", seed)))
        assert torch.equal(drawn, member(images, TARGETS))
    # The median of three is one of them, pixel by pixel.
    drawn = torch.stack(list(explainer.heatmaps(classifier, images, TARGETS)))
    median = drawn.median(dim=0).values
    assert torch.equal(explainer.explain(classifier, images, TARGETS).heatmaps, median)
    assert module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_an_ensemble_is_identified_by_its_files(tmp_path: Path) -> None:
    files = saved(tmp_path, 1, 2)
    first = BLRP("ensemble", members=files).identity()
    assert list(first) == ["explainer.members.0", "explainer.members.1"]
    torch.save(network("in_place", 7).state_dict(), files[0])
    other = BLRP("ensemble", members=files).identity()
    assert other["explainer.members.0"] != first["explainer.members.0"]
    assert other["explainer.members.1"] == first["explainer.members.1"]
    assert BLRP().identity() == {}


def test_the_findings_name_what_drops(images: Tensor) -> None:
    findings = BLRP().prepare(Classifier(dropping()), images)
    assert findings["dropout"] == {"channels": 0.3, "neurons": 0.4, "": 0.5}
    assert findings["logit_difference"] < 1e-9


def test_bad_input_is_named(images: Tensor, tmp_path: Path) -> None:
    classifier, files = Classifier(network("in_place").double()), saved(tmp_path, 1, 2)
    with pytest.raises(
        InputError,
        match=r"^explainer\.posterior=dropout: this network has no dropout layer with a rate "
        r"above 0; must be added_dropout or ensemble$",
    ):
        BLRP().explain(classifier, images, TARGETS)
    all_conv = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    with pytest.raises(InputError, match=r"^explainer\.posterior=added_dropout: .* no linear"):
        BLRP("added_dropout").prepare(Classifier(all_conv), images)
    with pytest.raises(InputError, match=r"^explainer\.posterior=bayes: must be one of dropout, "):
        BLRP("bayes")
    with pytest.raises(
        InputError, match=r"^explainer\.percentile=101.0: must be a number of at lea"
    ):
        BLRP(percentile=101.0)
    with pytest.raises(
        InputError, match=r"^explainer\.draws=1: must be a whole number of at least 2$"
    ):
        BLRP(draws=1)
    with pytest.raises(
        InputError, match=r"^explainer\.rate=1\.0: must be a number of at least 0 and"
    ):
        BLRP(rate=1.0)
    with pytest.raises(InputError, match=r"^explainer\.members=null: .* at least two files"):
        BLRP("ensemble")
    with pytest.raises(InputError, match=r"^explainer\.members=.*: .* at least two files"):
        BLRP("ensemble", members=files[:1])
    with pytest.raises(InputError, match=r"^explainer\.members=.*: is for .*=ensemble, not for"):
        BLRP(members=files)
    with pytest.raises(InputError, match=r"^explainer\.members=.*: there is no such file"):
        BLRP("ensemble", members=[files[0], "lost.pt"]).identity()
    other = BLRP("ensemble", members=files)
    with pytest.raises(InputError, match=r"^explainer\.members=.*0\.pt: must hold weights of Pl"):
        other.prepare(Classifier(network("plain").double()), images)
    with pytest.raises(InputError, match=r"^explainer\.batchnorm=fold: must be one of fuse"):
        BLRP(batchnorm="fold")

"""Grad-CAM's family on maps in every order of axes: beside hooks, and beside what pixels move.

Each small network is given with its usual layer and, by hand, how this layer's output becomes a
map; the heatmap is then computed with hooks alone.
"""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_sweep.core.errors import InputError
from xai_sweep.explainers import LRP, Cam, GradCam, GradCamPlusPlus, GuidedGradCam
from xai_sweep.graphs.capture import Captured, capture
from xai_sweep.graphs.maps import find_map, map_at
from xai_sweep.models import Classifier

SIZE = 24
TARGETS = torch.tensor([[0, 3], [1, 4], [2, 0]])


class ChannelsLast(nn.Module):
    """Layer normalisation and linear layers on [B, H, W, C], as in ConvNeXt and Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 4, stride=4)
        self.mlp = nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 12))
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images).permute(0, 2, 3, 1)
        maps = self.norm(maps + self.mlp(maps))
        return self.head(maps.mean(dim=(1, 2)))


class Block(nn.Module):
    """Attention and a linear layer, over tokens [B, N, C]."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.norm1, self.norm2 = nn.LayerNorm(12), nn.LayerNorm(12)
        self.qkv, self.proj, self.mlp = nn.Linear(12, 36), nn.Linear(12, 12), nn.Linear(12, 12)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, _ = tokens.shape
        parts = self.qkv(self.norm1(tokens)).reshape(batch, count, 3, 2, 6).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        if self.fused:
            read = F.scaled_dot_product_attention(q, k, v)
        else:
            read = (q @ k.transpose(-2, -1) / 6**0.5).softmax(dim=-1) @ v
        tokens = tokens + self.proj(read.transpose(1, 2).reshape(batch, count, 12))
        return tokens + F.gelu(self.mlp(self.norm2(tokens)))


class Transformer(nn.Module):
    """A class token and two register tokens, before or behind 6 x 6 patches."""

    def __init__(self, fused: bool = True, first: bool = True) -> None:
        super().__init__()
        self.first = first
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.tokens = nn.Parameter(torch.randn(1, 3, 12))
        self.positions = nn.Parameter(torch.randn(1, 39, 12))
        self.blocks = nn.Sequential(Block(fused), Block(fused))
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        parts = [self.tokens.expand(images.shape[0], -1, -1), patches]
        tokens = torch.cat(parts if self.first else parts[::-1], dim=1) + self.positions
        tokens = self.norm(self.blocks(tokens))
        return self.head(tokens[:, 0 if self.first else -3])


class Windows(nn.Module):
    """Attention in windows of 3 x 3, rolled by one, and patches merged two by two, as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 2, stride=2)
        self.block, self.merge, self.last = Block(True), nn.Linear(48, 12), Block(True)
        self.head = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.patches(images).permute(0, 2, 3, 1).roll((-1, -1), (1, 2))
        batch, height, width, count = maps.shape
        maps = maps.view(batch, height // 3, 3, width // 3, 3, count).permute(0, 1, 3, 2, 4, 5)
        tokens = self.block(maps.reshape(-1, 9, count))
        maps = tokens.view(batch, height // 3, width // 3, 3, 3, count).permute(0, 1, 3, 2, 4, 5)
        maps = maps.reshape(batch, height, width, count).roll((1, 1), (1, 2))
        quarters = [maps[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        maps = self.merge(torch.cat(quarters, dim=-1)).flatten(1, 2)
        return self.head(self.last(maps).mean(dim=1))


class Sequence(nn.Module):
    """Tokens first, images second, as nn.MultiheadAttention takes them; 3 x 12 is no square."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, (8, 2), stride=(8, 2))
        self.norm = nn.LayerNorm(12)
        self.attention = nn.MultiheadAttention(12, 2)
        self.head = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).permute(2, 0, 1)
        tokens = torch.cat([tokens.mean(dim=0, keepdim=True), tokens])
        normal = self.norm(tokens)
        tokens = tokens + self.attention(normal, normal, normal, need_weights=False)[0]
        return self.head(tokens[0])


class Mixer(nn.Module):
    """Patches by reshaping, and a linear layer over the places of all patches."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.over_places = nn.Linear(48, 12), nn.Linear(36, 36)
        self.norm, self.last = nn.LayerNorm(12), nn.LayerNorm(12)
        self.head = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        cut = images.reshape(-1, 3, SIZE // 4, 4, SIZE // 4, 4).permute(0, 2, 4, 3, 5, 1)
        tokens = self.embed(cut.reshape(images.shape[0], 36, 48))
        mixed = self.over_places(self.norm(tokens).transpose(1, 2)).transpose(1, 2)
        return self.head(self.last(tokens + torch.tanh(mixed)).mean(dim=1))


def channels_last(value: Tensor) -> Tensor:
    return value.permute(0, 3, 1, 2)


def tokens(height: int, width: int, skip: int = 0) -> Callable[[Tensor], Tensor]:
    def maps(value: Tensor) -> Tensor:
        patches = value[:, skip : skip + height * width].transpose(1, 2)
        return patches.unflatten(2, (height, width))

    return maps


def second(value: Tensor) -> Tensor:
    return value[1:].permute(1, 2, 0).unflatten(2, (3, 12))


# The network, its usual layer, and how this layer's output becomes a map.
CASES = {
    "channels_last": (ChannelsLast, "norm", channels_last),
    "transformer": (Transformer, "blocks.1.norm1", tokens(6, 6, 3)),
    "explicit_attention": (lambda: Transformer(fused=False), "blocks.1.norm1", tokens(6, 6, 3)),
    "tokens_behind": (lambda: Transformer(first=False), "blocks.1.norm1", tokens(6, 6)),
    "windows": (Windows, "last", tokens(6, 6)),
    "sequence": (Sequence, "norm", second),
    "mixer": (Mixer, "last", tokens(6, 6)),
}


def made(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CASES[name][0]().double().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(
        3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )


def hooked(name: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """Maps [B, C, h, w] of the usual layer and their gradients [B, K, C, h, w], with a hook."""
    module, (_, layer, maps) = made(name), CASES[name]
    values: list[Tensor] = []
    module.get_submodule(layer).register_forward_hook(lambda *each: values.append(each[2]))
    logits = module(images)
    picked = logits.gather(1, TARGETS)
    gradients = [
        maps(torch.autograd.grad(picked[:, rank].sum(), values[0], retain_graph=True)[0])
        for rank in range(2)
    ]
    return maps(values[0]).detach(), torch.stack(gradients, dim=1)


def enlarged(small: Tensor) -> Tensor:
    return F.interpolate(small, size=(SIZE, SIZE), mode="bilinear", align_corners=False)


@pytest.mark.parametrize("name", CASES)
def test_it_agrees_with_hooks_on_the_usual_layer(name: str, images: Tensor) -> None:
    maps, gradients = hooked(name, images)
    assert gradients.abs().amax() > 0
    weights = gradients.mean(dim=(-2, -1))
    expected = torch.einsum("bkc,bchw->bkhw", weights, maps)
    classifier = Classifier(made(name))
    for layer in (None, CASES[name][1], 1.0):
        found = GradCam(layer, polarity="both").explain(classifier, images, TARGETS).heatmaps
        torch.testing.assert_close(found, enlarged(expected))
    plus = GradCamPlusPlus().explain(classifier, images, TARGETS).heatmaps
    torch.testing.assert_close(plus, enlarged(GradCamPlusPlus().combined(maps, gradients)))


class Maps(torch.fx.Interpreter):
    """Every map that a graph computes."""

    def of(self, captured: Captured, images: Tensor) -> dict[torch.fx.Node, Tensor]:
        self.captured, self.count = captured, len(images)
        self.found: dict[torch.fx.Node, Tensor] = {}
        with torch.no_grad():
            self.run(images)
        return self.found

    def run_node(self, n: torch.fx.Node) -> object:
        value = super().run_node(n)
        at = map_at(self.captured, n)
        if at is not None:
            self.found[n] = at.layout.maps(value, self.count)
        return value


@pytest.mark.parametrize("name", CASES)
def test_the_cell_that_a_pixel_moves_is_the_one_at_the_pixel(name: str, images: Tensor) -> None:
    """As long as a pixel moves one cell of a map alone: later, everything is mixed."""
    captured = capture(Classifier(made(name)), images)
    row, column = SIZE // 4 + 1, SIZE // 3 + 1
    moved = images.clone()
    moved[:, :, row, column] += 1
    before, after = (Maps(captured.graph).of(captured, pixels) for pixels in (images, moved))
    alone = 0
    for node, values in before.items():
        changed = (values != after[node]).any(dim=1)
        if changed.flatten(1).sum(dim=1).eq(1).all():
            alone += 1
            height, width = changed.shape[1:]
            assert changed[:, row * height // SIZE, column * width // SIZE].all()
    assert alone >= 3


def test_cam_of_channels_last_maps_has_the_logit_as_its_mean(images: Tensor) -> None:
    module = made("channels_last")
    found = Cam().explain(Classifier(module), images, TARGETS).heatmaps
    maps, _ = hooked("channels_last", images)
    weights = module.get_submodule("head").weight
    expected = torch.einsum("bkc,bchw->bkhw", weights[TARGETS], maps)
    torch.testing.assert_close(found, enlarged(expected).detach())
    with pytest.raises(InputError, match=r"^explainer=cam: needs a network that ends in global"):
        Cam().prepare(Classifier(made("transformer")), images)


class Cut(nn.Module):
    """Ends in the mean of a part of the map, and in a linear layer."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.head, self.end = nn.Conv2d(3, 6, 4, stride=4), nn.Linear(6, 5), end

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.end(self.conv(images)).flatten(1))


@pytest.mark.parametrize(
    "end",
    [
        lambda maps: F.avg_pool2d(maps, 5),
        lambda maps: maps.permute(0, 2, 3, 1).mean(dim=(2, 3)),
        lambda maps: F.pad(maps, (1, 1, 1, 1)).mean(dim=(2, 3)),
    ],
    ids=["part", "other axes", "padded"],
)
def test_cam_refuses_a_mean_that_is_not_of_all_pixels_alone(
    end: Callable[[Tensor], Tensor], images: Tensor
) -> None:
    with pytest.raises(InputError, match=r"^explainer=cam: needs "):
        Cam().prepare(Classifier(Cut(end).double()), images)


def test_a_map_on_which_no_logit_depends_is_refused(images: Tensor) -> None:
    classifier = Classifier(made("transformer"))
    line = r"^explainer.layer=norm: has a map .* logits do not depend; name .* blocks.1.norm1"
    for explainer in (GradCam("norm"), GuidedGradCam("norm")):
        with pytest.raises(InputError, match=line):
            explainer.explain(classifier, images, TARGETS)


def test_a_gradient_of_zero_is_refused(images: Tensor) -> None:
    module = made("channels_last")
    nn.init.zeros_(module.get_submodule("head").weight)
    with pytest.raises(InputError, match=r"^explainer.layer=null: no gradient .* arrives at norm"):
        GradCam().prepare(Classifier(module), images)


class TwoSizes(nn.Module):
    """Two grids of patches, each with a logit of its own: no map has all evidence."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 8, 4, stride=4), nn.Conv2d(3, 8, 8, stride=8)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        parts = (self.fine(images).mean(dim=(2, 3)), self.coarse(images).mean(dim=(2, 3)))
        return self.head(parts[0]) + self.head(parts[1])


class Reordered(nn.Module):
    """Sorts its tokens by what they hold, so that no place is known."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv(images).flatten(2)
        patches = patches.gather(2, patches.argsort(dim=2)).transpose(1, 2)
        return self.head(torch.relu(self.last(patches)).amax(dim=1))


@pytest.mark.parametrize("layer", [None, 0.5])
def test_what_cannot_be_told_is_refused_with_names(layer: float | None, images: Tensor) -> None:
    classifier = Classifier(TwoSizes().double())
    with pytest.raises(InputError, match=r"^explainer.layer=(null|0.5): .* such as coarse, fine$"):
        GradCam(layer).prepare(classifier, images)
    assert GradCam("fine").prepare(classifier, images)["map"] == [6, 6]


def test_tokens_whose_place_depends_on_the_image_are_no_map(images: Tensor) -> None:
    classifier = Classifier(Reordered().double())
    assert find_map(capture(classifier, images)).path == "conv"
    with pytest.raises(InputError, match=r"^explainer.layer=last: computes no map; .* conv$"):
        GradCam("last").prepare(classifier, images)


def test_a_layer_by_depth_is_the_last_map_of_the_layer_at_this_share() -> None:
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    network = nn.Sequential(OrderedDict(body=nn.Sequential(*layers), end=end))
    captured = capture(Classifier(network), torch.zeros(2, 3, 8, 8))
    # Five layers with weights, at 0, 1/4, 1/2 and 3/4; the last, at 1, has no map.
    for depth, path in {0.0: 1, 0.12: 1, 0.13: 3, 0.5: 5, 0.62: 5, 0.63: 7}.items():
        assert find_map(captured, depth).path == f"body.{path}"
    assert find_map(captured, 1.0).node is find_map(captured).node


def test_a_depth_that_is_the_path_of_a_module_too_is_asked_for() -> None:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    captured = capture(Classifier(nn.Sequential(body, end)), torch.zeros(2, 3, 8, 8))
    line = r"^explainer.layer=0.2: is a depth and a module as well: for the module write .\"0.2\"."
    with pytest.raises(InputError, match=line):
        find_map(captured, 0.2)
    assert find_map(captured, "0.2").path == "0.2"
    assert find_map(captured, 0.199999).path == "0.1"


def test_words_of_the_command_line_are_depths_and_paths() -> None:
    assert GradCam(layer=0).layer == 0.0
    assert GradCam(layer=3).layer == 3  # a depth is at most 1
    assert LRP(layer=0.5).layer == 0.5
    assert GradCam(layer="features.29").layer == "features.29"


def test_a_misspelt_layer_is_answered_with_the_close_ones(images: Tensor) -> None:
    with pytest.raises(InputError, match=r"is no module .*; did you mean blocks.1.norm1 or "):
        GradCam("block.1.norm1").prepare(Classifier(made("transformer")), images)


class Averaged(Transformer):
    """Reads the mean of all tokens, class and register tokens among them."""

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.tokens.expand(images.shape[0], -1, -1), patches], dim=1)
        return self.head(self.norm(tokens + self.positions).mean(dim=1))


def test_lrp_stops_at_a_map_in_any_order_of_axes(images: Tensor) -> None:
    """Behind it is only a mean and a linear layer, whose relevance is w_k A_k / N."""
    rules = [{"rule": "zero"}]
    explainer = LRP(rules, layer="norm", unsupported="gradient")
    module = made("channels_last")
    found = explainer.explain(Classifier(module), images, TARGETS)
    expected = Cam().explain(Classifier(module), images, TARGETS).heatmaps / 36
    torch.testing.assert_close(found.heatmaps, expected)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        averaged = Averaged().double()
    found = explainer.explain(Classifier(averaged), images, TARGETS)
    values: list[Tensor] = []
    averaged.norm.register_forward_hook(lambda *each: values.append(each[2].detach()))
    logits = averaged(images).gather(1, TARGETS).detach()
    parts = torch.einsum("bkc,bnc->bkn", averaged.head.weight[TARGETS], values[0]).detach() / 39
    torch.testing.assert_close(found.heatmaps, enlarged(parts[:, :, 3:].unflatten(2, (6, 6))))
    # What the tokens left out have received is lost, so that the account adds up.
    torch.testing.assert_close(
        found.facts["stabilizer_share"], parts[:, :, :3].sum(dim=2) / logits, rtol=1e-6, atol=1e-9
    )

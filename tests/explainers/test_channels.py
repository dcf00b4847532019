"""Every method explains networks of one channel and of more than three, or says that it cannot."""

import pytest
import torch
from cheap import cheaply
from fits_first import ready
from networks import CLASSES
from torch import Tensor, nn

from xai_sweep.config.building import build
from xai_sweep.config.keys import add_schema
from xai_sweep.config.points import composed
from xai_sweep.core.errors import InputError
from xai_sweep.core.paths import CONF
from xai_sweep.explainers import Explainer
from xai_sweep.models import Classifier, grey_images

add_schema()
YAMLS = sorted(path.stem for path in (CONF / "explainer").glob("*.yaml"))
TARGETS = torch.tensor([[0, 1], [2, 3]])


class Summing(nn.Module):
    """Sees nothing but the mean of its channels, so its number of channels does not matter."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            first = nn.Conv2d(1, 8, 3, padding=1)
            self.second, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, CLASSES)
        self.first = nn.Conv2d(channels, 8, 3, padding=1)
        weight = first.weight.data.expand(-1, channels, -1, -1) / channels
        self.first.weight.data, self.first.bias = weight.clone(), first.bias

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.second(torch.relu(self.first(images))))
        return self.head(maps.mean(dim=(2, 3)))


def classifier(channels: int) -> Classifier:
    return Classifier(Summing(channels).eval(), (0.4,) * channels, (0.25,) * channels, size=16)


def images(channels: int) -> Tensor:
    grey = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    return ((grey - 0.4) / 0.25).expand(-1, channels, -1, -1).contiguous()


def heatmaps(name: str, channels: int) -> Tensor:
    explainer: Explainer = ready(build(composed(cheaply(name)).explainer))
    network = classifier(channels)
    explainer.prepare(network, grey_images(network))
    return explainer.explain(network, images(channels), TARGETS, torch.arange(2)).heatmaps


SAME = (
    *("lrp", "input_x_gradient", "integrated_gradients", "deep_lift", "grad_cam", "cam"),
    *("occlusion", "lime", "feature_ablation", "kernel_shap"),
)


@pytest.mark.parametrize(
    ("name", "channels"), [*((name, 5) for name in SAME), ("lrp", 1), ("lime", 1)]
)
def test_as_of_three_channels_where_the_network_sees_their_mean(name: str, channels: int) -> None:
    expected = heatmaps(name, 3)
    found = heatmaps(name, channels)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", sorted({*YAMLS} - {*SAME, "lime_package"}))
def test_five_channels(name: str) -> None:
    found = heatmaps(name, 5)
    assert found.shape == (2, 2, 16, 16)
    assert found.isfinite().all()
    assert found.abs().sum() > 0


def test_the_lime_package_takes_photos_alone() -> None:
    assert torch.allclose(heatmaps("lime_package", 1), heatmaps("lime_package", 3), atol=1e-6)
    with pytest.raises(InputError) as error:
        heatmaps("lime_package", 5)
    assert str(error.value) == (
        "explainer=lime_package: the package takes photos, this network 5 channels; "
        "explainer=lime can"
    )

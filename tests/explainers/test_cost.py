"""What `cost_in_forwards` says is what passes through the network's first layer, there and back."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from cheap import cheaply
from fits_first import ready
from heatmaps import heatmaps_of
from networks import network
from torch.utils._python_dispatch import TorchDispatchMode

from xai_sweep.config.building import build
from xai_sweep.config.keys import add_schema
from xai_sweep.config.points import composed
from xai_sweep.core.paths import CONF
from xai_sweep.explainers import Explainer, FeatureAblation, Lime, Occlusion
from xai_sweep.models import Classifier

aten = torch.ops.aten
add_schema()
YAMLS = sorted(path.stem for path in (CONF / "explainer").glob("*.yaml"))


CONVOLUTIONS = (
    *(aten.convolution.default, aten.conv2d.default, aten.conv_transpose2d.input),
    torch.ops.mkldnn._convolution_pointwise.default,
)


class Passes(TorchDispatchMode):
    """Counts images that enter the first layer, and gradients or relevance that leave it.

    Sees every operation, be it the module, the captured graph, a folded copy or LRP's own passes,
    of which some hand down several parts of a pixel's relevance at once. No other layer of the
    network has a number of channels that is divisible by three.
    """

    def __init__(self) -> None:
        super().__init__()
        self.forwards = self.backwards = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in CONVOLUTIONS:
            self.forwards += len(result) * (args[0].shape[1] == 3)
            self.backwards += len(result) * (result.shape[1] % 3 == 0)
        elif func is aten.convolution_backward.default and result[0] is not None:
            self.backwards += len(result[0]) * (result[0].shape[1] == 3)
        return result


def passes(explainer: Explainer, targets: int, count: int = 1) -> float:
    """For an image of the size that the cost is meant for, after whatever is done only once."""
    images = torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    ranks = torch.arange(targets).expand(count, targets)
    explain = heatmaps_of(explainer, Classifier(network("gated")))
    explain(images, ranks)
    with Passes() as counted:
        explain(images, ranks)
    return (counted.forwards + counted.backwards) / count


# Thousands of small squares fit into a photo.
LARGER = {"occlusion": ["explainer.window=90", "explainer.stride=50"]}


@pytest.mark.parametrize("name", YAMLS)
def test_the_cost_is_what_passes_through_the_network(name: str) -> None:
    explainer = build(composed([*cheaply(name), *LARGER.get(name, [])]).explainer)
    # This one computes a lone image beside a copy of itself.
    count = 2 if name == "rde" else 1
    found = {targets: passes(ready(explainer), targets, count) for targets in (1, 3)}
    said = {targets: explainer.cost_in_forwards(targets) for targets in found}
    if name == "captum":
        assert all(math.isnan(cost) for cost in said.values())
    else:
        assert said == found


@pytest.mark.parametrize(
    "explainer",
    [
        FeatureAblation("grid", 10),
        Occlusion(window=224, stride=1),
        Lime(
            "auto",
            segmentation="grid",
            options={"rows": 2, "columns": 2},
            stderr=1e-9,
            max_samples=320,
        ),
    ],
    ids=["no square number", "one square", "never certain"],
)
def test_the_cost_follows_from_the_parameters(explainer: Explainer) -> None:
    assert explainer.cost_in_forwards(2) == passes(explainer, 2)


def test_certain_early_costs_less() -> None:
    explainer = Lime("auto", segmentation="grid", options={"rows": 2, "columns": 2}, stderr=10.0)
    assert passes(explainer, 1) == 128 < explainer.cost_in_forwards(1)

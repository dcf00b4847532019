"""The faster order in memory, where it changes nothing."""

from itertools import product
from pathlib import Path

import pytest
import torch
from networks import Plain, Strides, StridesByItself, Views, Volumes
from torch import nn

from xai_sweep.explainers import LRP, GradCam, GuidedBackprop, IntegratedGradients, Lime
from xai_sweep.explainers.base import Explainer
from xai_sweep.models import load
from xai_sweep.models.checkpoint import CheckpointModel
from xai_sweep.models.checks import samples
from xai_sweep.study.subject import Subject

LIME = Lime(num_samples=80, segmentation="slic", options={"n_segments": 8})


def weights(tmp_path: Path, make: type[nn.Module]) -> str:
    torch.manual_seed(0)
    torch.save(make().state_dict(), tmp_path / "net.pt")
    return str(tmp_path / "net.pt")


def is_last(module: nn.Module) -> bool:
    kernels = [p for p in module.parameters() if p.dim() == 4 and min(p.shape) > 1]
    return all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)


@pytest.mark.parametrize(
    ("make", "wanted"), [(Plain, True), (Volumes, True), (Views, False), (Strides, False)]
)
def test_the_format_is_chosen_by_what_it_does(
    tmp_path: Path, make: type[nn.Module], wanted: bool
) -> None:
    path = weights(tmp_path, make)
    source = CheckpointModel(f"networks:{make.__name__}", path=path, size=16)
    classifier = load(source)
    assert is_last(classifier.module) == wanted
    images = samples(classifier, torch.zeros(1, 3, 16, 16))
    with torch.no_grad():
        torch.testing.assert_close(classifier.module(images), source.load().module(images))


FROM_THE_GRAPH = [GradCam(), GuidedBackprop()]
ANY = [IntegratedGradients(steps=4), LIME]


@pytest.mark.parametrize(
    ("make", "explainer"),
    [
        *product([Views], [LRP(), *FROM_THE_GRAPH, *ANY]),
        *product([Strides], [*FROM_THE_GRAPH, *ANY]),
        *product([StridesByItself], ANY),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else type(each).__name__,
)
def test_every_kind_of_method_explains_them(
    tmp_path: Path, make: type[nn.Module], explainer: Explainer
) -> None:
    path = weights(tmp_path, make)
    network = CheckpointModel(f"networks:{make.__name__}", path=path, size=16)
    usual = CheckpointModel("networks:Flattens", path=path, size=16)
    images, targets = samples(load(usual), torch.zeros(1, 3, 16, 16)), torch.tensor([[0, 1]] * 3)
    ours, theirs = (
        Subject(load(each), explainer).explain(images, targets).heatmaps
        for each in (network, usual)
    )
    assert theirs.abs().amax() > 0
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)

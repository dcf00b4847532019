"""Null explainers, their names without torch, and the command that runs them all."""

from pathlib import Path

import pytest
import torch
from harness import FAST, call, read
from heatmaps import heatmaps_of
from networks import network
from skimage.filters import sobel

from xai_sweep.commands.words import with_controls
from xai_sweep.config.building import build
from xai_sweep.config.controls import controls
from xai_sweep.config.entries import entries
from xai_sweep.config.keys import add_schema
from xai_sweep.config.points import composed
from xai_sweep.explainers.controls import Constant, Random, Sobel
from xai_sweep.models import Classifier

TARGETS = torch.tensor([[0, 3], [4, 1]])


def test_names_are_those_of_the_classes() -> None:
    add_schema()
    found = {
        name
        for name in entries("explainer")
        if build(composed([f"explainer={name}"]).explainer).is_control
    }
    assert found == set(controls())


def test_sobel_is_that_of_scikit_image() -> None:
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    classifier = Classifier(network("plain"))
    heatmaps = Sobel().explain(classifier, images, TARGETS).heatmaps
    for image, heatmap in zip(images, heatmaps, strict=True):
        expected = sobel(classifier.normalisation.to_pixels(image).mean(dim=0).numpy())
        torch.testing.assert_close(heatmap[1], torch.from_numpy(expected))


def test_random_knows_the_seed_alone() -> None:
    explain = heatmaps_of(Random(), Classifier(network("plain")))
    seeds = torch.tensor([7, 2**40])
    one = explain(torch.randn(2, 3, 16, 16), TARGETS, seeds)
    assert torch.equal(one, explain(torch.randn(2, 3, 16, 16), TARGETS.flip(0), seeds))
    assert torch.equal(one[:, 0], one[:, 1])
    assert not torch.equal(one[0], one[1])


def test_constant_is_constant() -> None:
    explain = heatmaps_of(Constant(), Classifier(network("plain")))
    heatmaps = explain(torch.randn(2, 3, 16, 16), TARGETS)
    assert torch.equal(heatmaps, torch.ones(2, 2, 16, 16))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["explainer=controls", "seed=1"], ["-m", "explainer=constant,random,sobel", "seed=1"]),
        (["-m", "explainer=lrp,controls"], ["-m", "explainer=lrp,constant,random,sobel"]),
        (["explainer=lrp"], ["explainer=lrp"]),
    ],
)
def test_controls_are_one_word_on_the_command_line(given: list[str], meant: list[str]) -> None:
    assert with_controls(given) == meant


def test_a_job_of_controls(tmp_path: Path) -> None:
    words = [word for word in FAST if "explainer" not in word]
    assert call(tmp_path, "explainer=controls", "transform.angle=[5]", "data.limit=2", *words) == 0
    rows = read(tmp_path)
    assert set(rows["explainer"]) == set(controls())
    assert rows["error"].isna().all()
    constant = rows[rows["explainer"] == "constant"]
    assert constant["spearman"].isna().all()
    assert (constant["rmse"] < 1e-6).all()
    assert (rows[rows["explainer"] == "random"]["rmse_second_draw"] > 1).all()

"""Black boxes: functions of images, asked by methods that only ask."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boxes
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from xai_sweep.core.errors import InputError
from xai_sweep.explainers import LRP, FeatureAblation, KernelShap, Lime, Occlusion, Saliency
from xai_sweep.explainers.base import Explainer
from xai_sweep.models import load
from xai_sweep.models.callable import CallableModel
from xai_sweep.models.checks import samples
from xai_sweep.study.subject import Subject

LIKE = torch.zeros(1, 3, 16, 16)


def source(name: str, **more: Any) -> CallableModel:
    return CallableModel(f"boxes:{name}", size=16, **more)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("colours", boxes.colours),
        ("red", lambda p: np.stack([1 - np.array(boxes.red(p)), boxes.red(p)], axis=1)),
        ("each_colour", lambda p: boxes.each_colour(p).numpy()),
    ],
)
def test_probabilities_are_those_of_the_function(
    name: str, wanted: Callable[[Any], NDArray[Any]]
) -> None:
    classifier = load(source(name))
    images = samples(classifier, LIKE)
    pixels = classifier.normalisation.to_pixels(images).clamp(0, 1).numpy()
    ours = Subject(classifier, Occlusion(8, 8)).predict(images)
    np.testing.assert_allclose(ours.numpy(), wanted(pixels), atol=1e-5)


@pytest.mark.parametrize(
    "explainer",
    [
        Occlusion(4, 4),
        FeatureAblation(num_superpixels=9, segmentation="grid"),
        KernelShap(num_superpixels=9, segmentation="grid", samples=32),
        Lime(num_samples=80, segmentation="slic", options={"n_segments": 8}),
    ],
)
def test_methods_that_ask(explainer: Explainer) -> None:
    classifier = load(source("colours"))
    images, targets = samples(classifier, LIKE), torch.tensor([[0, 2]] * 3)
    subject = Subject(classifier, explainer)
    maps = subject.explain(images, targets, torch.arange(3)).heatmaps
    assert maps.abs().amax() > 0
    assert torch.equal(subject.explain(images, targets, torch.arange(3)).heatmaps, maps)


@pytest.mark.parametrize("explainer", [Saliency(), LRP()])
def test_methods_that_need_more_are_refused(explainer: Explainer) -> None:
    classifier = load(source("colours"))
    message = f"explainer={type(explainer).__name__}: needs the {explainer.needs} of the network"
    with pytest.raises(InputError, match=message):
        Subject(classifier, explainer).explain(LIKE, torch.tensor([[0]]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("logits", "model.function=boxes:logits: must return probabilities .*; it returned 2"),
        ("missing", "model.function=boxes:missing: .* it returned NaN or infinity"),
        ("whole", r"model.function=boxes:whole: .* it returned \[2, 3, 16, 16\] for 2 images"),
        ("text", "model.function=boxes:text: .* ValueError: could not convert string"),
        ("broken", "model=BlackBox: must take .* raised ConnectionError: the service is down"),
        ("drawn", "model=BlackBox: gives other outputs when it is run again"),
        ("number", "model.function=boxes:number: must be a function of images"),
        ("nothing", "model.function=boxes:nothing: must be package.module:function"),
    ],
)
def test_what_a_function_must_not_be(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load(source(name))
    assert "\n" not in str(error.value)


def test_another_version_is_another_cell(tmp_path: Path) -> None:
    by_file = source("colours").identity()
    assert by_file["weights"].startswith("source:sha256:")
    assert source("colours", version="2").identity() == {"weights": "version:2"}
    with pytest.raises(InputError, match=r"model.version=null: is needed: math:sqrt"):
        CallableModel("math:sqrt").identity()

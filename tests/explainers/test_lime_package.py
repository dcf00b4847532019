"""Given the same masks, ours is the `lime` package."""

from functools import partial
from typing import Any

import lime.lime_image
import numpy as np
import pytest
import torch
from heatmaps import heatmaps_of
from lime.wrappers.scikit_image import SegmentationAlgorithm
from networks import network
from skimage import data
from skimage.transform import resize

from xai_sweep.core.errors import InputError
from xai_sweep.explainers import Lime, LimePackage
from xai_sweep.explainers.adapters.lime_package import _without_bar
from xai_sweep.explainers.perturbation.superpixels import SuperpixelFinder, as_photo
from xai_sweep.models import Classifier

TARGETS = [3, 0, 4]


def photo(size: int = 48) -> np.ndarray:
    """A cat as its file has it, 8 bits."""
    small = resize(data.chelsea(), (size, size), anti_aliasing=True)
    return np.round(small * 255).astype(np.uint8)


def double() -> Classifier:
    """A network in double precision that is not as undecided as random weights are."""
    module = network("plain").double()
    with torch.no_grad():
        module.get_submodule("classifier").weight.mul_(30)
    return Classifier(module)


class Recording(lime.lime_image.LimeImageExplainer):
    """The package's explainer, and the masks that it drew."""

    masks: np.ndarray

    def data_labels(self, *given: Any, **named: Any) -> tuple[np.ndarray, np.ndarray]:
        self.masks, labels = super().data_labels(*given, **named)
        return self.masks, labels


def package(
    classifier: Classifier, image: np.ndarray, method: Recording, samples: int, **options: Any
) -> Any:
    def probabilities(photos: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(photos).permute(0, 3, 1, 2)
        logits = classifier.module(classifier.normalisation.to_normalised(pixels))
        return logits.softmax(dim=1).numpy()

    with torch.no_grad(), _without_bar():
        return method.explain_instance(
            image,
            probabilities,
            labels=TARGETS,
            top_labels=None,
            num_samples=samples,
            **options,
        )


SEGMENTATIONS = {
    "quickshift": ({"kernel_size": 2, "max_dist": 10}, {"ratio": 0.2, "random_seed": 7}),
    # The package takes a column's number for its superpixel's label, but slic's begin with 1.
    "slic": ({"n_segments": 20}, {"start_label": 0}),
    "felzenszwalb": ({"scale": 40.0, "min_size": 40}, {}),
}


@pytest.mark.parametrize("segmentation", list(SEGMENTATIONS))
@pytest.mark.parametrize("hide", ["mean", 0.25])
@pytest.mark.parametrize("selection", ["auto", "none"])
def test_with_the_same_masks_it_is_the_package(
    segmentation: str, hide: str | float, selection: str
) -> None:
    classifier, image = double(), photo() / 255
    ours_only, theirs_too = SEGMENTATIONS[segmentation]
    method = Recording(kernel_width=0.4, feature_selection=selection, random_state=3)
    found = package(
        classifier,
        image,
        method,
        150,
        hide_color=None if hide == "mean" else hide,
        segmentation_fn=SegmentationAlgorithm(segmentation, **ours_only, **theirs_too),
    )
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    explainer = Lime(
        num_samples=150,
        segmentation=segmentation,
        options=ours_only,
        hide=hide,
        kernel_width=0.4,
    )
    ours = explainer.surrogates(
        classifier,
        classifier.normalisation.to_normalised(pixels),
        torch.tensor([TARGETS]),
        given_masks=torch.from_numpy(method.masks[None] == 1),
    )
    # The package keeps R2 and the prediction for the whole image of the last label only.
    assert ours.r2[0, -1].item() == pytest.approx(found.score, abs=1e-6)
    whole = ours.intercept[0, -1] + ours.coefficients[0, -1].sum()
    assert whole.item() == pytest.approx(found.local_pred[0], abs=1e-6)
    heatmaps = ours.heatmaps()
    for rank, target in enumerate(TARGETS):
        assert ours.intercept[0, rank].item() == pytest.approx(found.intercept[target], abs=1e-6)
        weights = dict(found.local_exp[target])
        numbers = np.unique(found.segments).tolist()
        assert len(weights) == len(numbers) == ours.coefficients.shape[2] > 4
        theirs = np.array([weights[column] for column in range(len(numbers))])
        np.testing.assert_allclose(ours.coefficients[0, rank], theirs, rtol=0, atol=1e-6)
        assert np.abs(theirs).max() > 1e-3
        for column, number in enumerate(numbers):
            assert np.allclose(heatmaps[0, rank][found.segments == number], theirs[column])


def test_superpixels_are_those_that_a_user_of_the_package_gets_from_the_file() -> None:
    image = photo(96)
    usual = SegmentationAlgorithm(
        "quickshift", kernel_size=4, max_dist=200, ratio=0.2, random_seed=11
    )
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    space = Classifier(network("plain")).normalisation
    back = space.to_pixels(space.to_normalised(pixels))
    assert not torch.equal(back, pixels)
    found = SuperpixelFinder("quickshift")(back)
    assert found.amax() > 2
    np.testing.assert_array_equal(found[0], usual(image))
    np.testing.assert_array_equal(as_photo(back[0]), image / 255)
    # What is no 8-bit photo stays what it is.
    noisy = pixels[0].double() + 0.001
    np.testing.assert_array_equal(as_photo(noisy), noisy.permute(1, 2, 0))


def test_the_wrapper_is_the_package(capfd: pytest.CaptureFixture[str]) -> None:
    classifier, image = double(), photo() / 255
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    images = classifier.normalisation.to_normalised(pixels)
    options = {"kernel_size": 2, "max_dist": 10}
    make = partial(LimePackage, num_samples=60, options=options)
    explain = heatmaps_of(make(seed=5), classifier)
    heatmaps = explain(images, torch.tensor([TARGETS]), torch.tensor([9]))
    assert capfd.readouterr() == ("", "")
    again = explain(images, torch.tensor([TARGETS[::-1]]), torch.tensor([9]))
    assert torch.equal(again, heatmaps.flip(1))
    assert not torch.equal(heatmaps, explain(images, torch.tensor([TARGETS]), torch.tensor([8])))
    assert not torch.equal(
        heatmaps,
        make(seed=6)
        .explain(classifier, images, torch.tensor([TARGETS]), torch.tensor([9]))
        .heatmaps,
    )
    # Many samples on both sides: the same maps, whoever draws.
    many = heatmaps_of(LimePackage(num_samples=3000, options=options), classifier)
    ours = heatmaps_of(Lime(num_samples=3000, options=options), classifier)
    left, right = (each(images, torch.tensor([TARGETS])) for each in (many, ours))
    assert (left - right).norm() < 0.1 * right.norm()


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match=r"^explainer.num_samples=1: must be a whole number of"):
        LimePackage(num_samples=1)
    with pytest.raises(InputError, match=r"^explainer.batch_size=0: must be a whole number of"):
        LimePackage(batch_size=0)
    with pytest.raises(InputError, match=r"^explainer.segmentation=watershed: must be one of qu"):
        LimePackage(segmentation="watershed")

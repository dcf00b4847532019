"""What belongs to a network."""

import numpy as np
import pytest
import torch
from networks import Plain
from PIL import Image
from skimage import data
from torch import nn

from xai_sweep.models import Classifier, Normalisation, evaluating


def test_normalisation_by_hand() -> None:
    normalisation = Normalisation((0.5, 0.25, 0.0), (0.5, 0.25, 2.0))
    pixels = torch.tensor([1.0, 0.5, 0.5])[:, None, None]
    normalised = normalisation.to_normalised(pixels)
    assert normalised.flatten().tolist() == [1.0, 1.0, 0.25]
    assert torch.equal(normalisation.to_pixels(normalised), pixels)


def test_default_preprocessing_scales_the_shorter_side_and_crops_the_centre() -> None:
    classifier = Classifier(nn.Identity(), mean=(0.5,) * 3, std=(0.5,) * 3, size=7)
    image = np.zeros((8, 24, 3), dtype=np.uint8)  # the shorter side is 7 / 0.875 = 8 already
    image[:, 8:16] = 255
    tensor = classifier.preprocess(Image.fromarray(image))
    assert tensor.shape == (3, 7, 7)
    assert tensor.dtype == torch.float32
    assert torch.equal(tensor, torch.ones(3, 7, 7))


def test_own_preprocessing_is_kept() -> None:
    classifier = Classifier(nn.Identity(), preprocess=lambda _: torch.zeros(3, 1, 1))
    assert classifier.preprocess(Image.fromarray(data.chelsea())).shape == (3, 1, 1)


def test_labels_or_numbers() -> None:
    classifier = Classifier(nn.Identity(), labels=("cat",))
    assert [classifier.label(0), classifier.label(1)] == ["cat", "1"]


def test_every_part_gets_its_own_mode_back() -> None:
    module = Plain()
    module.features[1].eval()
    before = [part.training for part in module.modules()]

    def look() -> None:
        with evaluating(module):
            assert not any(part.training for part in module.modules())
            raise KeyError

    with pytest.raises(KeyError):
        look()
    assert [part.training for part in module.modules()] == before

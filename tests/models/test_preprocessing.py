"""From a picture to what a network of any number of channels sees."""

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import Plain
from PIL import Image
from skimage import data
from torch import nn

from xai_sweep.core.errors import InputError
from xai_sweep.models import Classifier, grey_images
from xai_sweep.models.checkpoint import CheckpointModel
from xai_sweep.models.timm import TimmModel


def unit(channels: int, **options: object) -> Classifier:
    """A network that sees pixels from 0 to 1 as they are."""
    normalisation = {"mean": (0.0,) * channels, "std": (1.0,) * channels}
    return Classifier(nn.Identity(), **normalisation, **options)  # type: ignore[arg-type]


def test_one_channel_sees_the_luminance() -> None:
    photo = data.chelsea()[:80, :80]
    tensor = unit(1, size=70).preprocess(Image.fromarray(photo))
    assert tensor.shape == (1, 70, 70)
    luminance = photo[5:75, 5:75] @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(tensor[0].numpy() * 255 - luminance).max() <= 0.51
    grey = photo[..., 0]
    tensor = unit(1, size=70).preprocess(Image.fromarray(grey).convert("RGB"))
    assert np.array_equal((tensor[0] * 255).round().numpy(), grey[5:75, 5:75])


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_stacks_are_resized_and_cropped_as_photos_are(channels: int) -> None:
    photo = Image.fromarray(data.chelsea())
    stack = torch.from_numpy(np.asarray(photo) / np.float32(255)).permute(2, 0, 1)
    stack = torch.cat([stack, stack])[:channels]
    seen = unit(channels, size=56).preprocess(stack)
    expected = unit(3, size=56).preprocess(photo)
    assert seen.shape == (channels, 56, 56)
    # Pillow rounds to 8 bits twice, after each side.
    assert (seen - torch.cat([expected, expected])[:channels]).abs().max() < 1.1 / 255


@pytest.mark.parametrize("size", [(64, 96), (300, 451)], ids=["lying", "standing"])
def test_a_size_that_is_not_square(size: tuple[int, int]) -> None:
    """An image of twice the frame, larger on one side, is halved, and its centre is cropped."""
    height, width = size
    image = np.zeros((128, 112, 3), dtype=np.uint8)
    image[8:120, 16:96] = 255  # what the crop to 56 x 40 leaves, at 64 x 56 pixels
    tensor = unit(3, size=(56, 40)).preprocess(Image.fromarray(image))
    assert tensor.shape == (3, 56, 40)
    assert torch.equal(tensor[:, 1:-1, 1:-1], torch.ones(3, 54, 38))
    assert unit(3, size=size).preprocess(Image.fromarray(image)).shape == (3, height, width)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_grey_images_are_what_the_network_takes(channels: int) -> None:
    images = grey_images(unit(channels, size=(8, 12)))
    assert images.shape == (2, channels, 8, 12)
    assert torch.allclose(images, torch.tensor(127 / 255))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": [0.5]}, "model.std=[0.229, 0.224, 0.225]: has 3 numbers, model.mean has 1; "),
        ({"channels": 1}, "model.mean=[0.485, 0.456, 0.406]: has 3 numbers; model.channels=1 need"),
        ({"mean": 0.5}, "model.mean=0.5: must be a list, each a number"),
        ({"mean": "grey"}, "model.mean=grey: must be a list, each a number"),
        ({"mean": [], "std": []}, "model.std=[]: has 0 numbers, model.mean has 0; both need one"),
        (
            {"mean": [123.7, 116.3, 103.5]},
            "model.mean=[123.7, 116.3, 103.5]: must be from 0 to 1, for pixels are; "
            "123.7 of 255 is 0.4851",
        ),
        ({"mean": [-0.5] * 3}, "model.mean=[-0.5, -0.5, -0.5]: must be from 0 to 1"),
        ({"mean": [float("nan")] * 3}, "model.mean="),
        ({"std": [58.4, 57.1, 57.4]}, "model.std=[58.4, 57.1, 57.4]: must be above 0 to 1, for"),
        ({"std": [0.2, 0, 0.2]}, "model.std=[0.2, 0.0, 0.2]: must be above 0 to 1"),
        ({"size": [224]}, "model.size=[224]: must be a whole number of pixels, or height and wid"),
        ({"size": [0, 224]}, "model.size=[0, 224]: must be a whole number of pixels"),
    ],
)
def test_a_normalisation_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        CheckpointModel("networks:Plain", path="plain.pt", **options)  # type: ignore[arg-type]
    assert str(error.value).startswith(message)


def test_a_classifier_in_python_is_checked_too() -> None:
    with pytest.raises(InputError, match=r"^model.std="):
        Classifier(nn.Identity(), mean=(0.5,))


def test_an_own_network_that_is_not_square(tmp_path: Path) -> None:
    torch.save(Plain().state_dict(), tmp_path / "plain.pt")
    source = CheckpointModel("networks:Plain", path=str(tmp_path / "plain.pt"), size=[24, 16])
    assert grey_images(source.load()).shape == (2, 3, 24, 16)


def test_channels_of_timm() -> None:
    source = TimmModel("test_resnet", "random", channels=1, mean=[0.5], std=[0.25])
    classifier = source.load()
    images = grey_images(classifier)
    assert images.shape[1] == 1
    assert torch.allclose(images, torch.tensor((127 / 255 - 0.5) / 0.25), atol=1e-6)
    assert classifier.module(images).shape == (2, classifier.module.num_classes)
    stack = torch.rand(5, 300, 280)
    many = TimmModel("test_resnet", "random", channels=5, mean=(0.5,) * 5, std=(0.25,) * 5).load()
    assert many.module(many.preprocess(stack)[None]).ndim == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 5}, "model.mean=null: model.channels=5 needs 5 numbers"),
        ({"mean": [0.5] * 3}, "model.std=null: model.mean and model.std are given together"),
        ({"channels": 1, "mean": [0.5], "std": [0.2] * 3}, "model.std=[0.2, 0.2, 0.2]: has 3"),
    ],
)
def test_channels_of_timm_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        TimmModel("test_resnet", "random", **options)  # type: ignore[arg-type]
    assert str(error.value).startswith(message)

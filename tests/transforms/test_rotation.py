"""Rotation against an oracle that takes one pixel at a time, torchvision, and exact geometry."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from oracles.rotation import rotated
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv
from transform_checks import cases_of, changed, small_subject

from xai_sweep.core.errors import InputError
from xai_sweep.transforms import Rotation

SUBJECT = small_subject()
SPACE = SUBJECT.classifier.normalisation


def turn(images: Tensor, angles: list[float], **parameters: object) -> Tensor:
    return changed(SUBJECT, cases_of(images), Rotation(**parameters), angles).images


def moved(maps: Tensor, angle: float) -> Tensor:
    angles = torch.full((len(maps),), angle, dtype=torch.float64)
    return Rotation().motion(angles, (maps.shape[-2], maps.shape[-1])).move(maps)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("angle", [0.5, 7.0, -33.0, 140.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_one_pixel_at_a_time(images: Tensor, angle: float, dtype: torch.dtype) -> None:
    turned = turn(images.to(dtype), [angle, angle])
    assert turned.dtype == dtype
    expected, inside = rotated(images.double().numpy(), angle)
    # Where fill mixes in, the oracle, which knows no fill, has nothing to say.
    np.testing.assert_allclose(turned.numpy()[..., inside], expected[..., inside], atol=2e-5)
    assert inside.mean() > 0.5


@pytest.mark.parametrize("size", [(32, 32), (30, 47)])
@pytest.mark.parametrize("angle", [0.5, 33.0, -90.0, 140.0, 180.0])
def test_agrees_with_torchvision_at_the_border_too(size: tuple[int, int], angle: float) -> None:
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(2))
    peer = partial(tv.rotate, images, angle, InterpolationMode.BILINEAR)
    black = SPACE.to_normalised(torch.zeros(3, 1, 1)).flatten().tolist()
    for found, expected in (
        (turn(images, [angle] * 2), peer()),
        (turn(images, [angle] * 2, fill="constant", fill_value=0), peer(fill=black)),
        (moved(images, angle), peer()),
    ):
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("fill", ["edge", "reflect"])
@pytest.mark.parametrize("size", [(32, 32), (30, 47)])
@pytest.mark.parametrize("angle", [0.5, 33.0, -90.0, 140.0])
def test_outside_is_the_padded_image(fill: str, size: tuple[int, int], angle: float) -> None:
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(2))
    # The frame around the image that a rotation can bring into view.
    pad = math.ceil((math.hypot(*size) - min(size)) / 2) + 1
    padded = tv.pad(images, [pad], padding_mode=fill)
    expected = tv.rotate(padded, angle, InterpolationMode.BILINEAR)[..., pad:-pad, pad:-pad]
    found = turn(images, [angle] * 2, fill=fill)
    torch.testing.assert_close(found, expected, atol=5e-5, rtol=0)


@pytest.mark.parametrize("fill", ["mean", "edge", "reflect", "constant"])
def test_right_angles_move_whole_pixels(images: Tensor, fill: str) -> None:
    for quarter in (-1, 0, 1, 2, 3, 4):
        turned = turn(images, [90.0 * quarter] * 2, fill=fill)
        assert torch.equal(turned, torch.rot90(images, quarter, dims=(-2, -1)))


@pytest.mark.parametrize("fill", ["mean", "edge", "reflect", "constant"])
def test_half_turns_of_other_shapes_move_whole_pixels(fill: str) -> None:
    images = torch.randn(2, 3, 30, 47, generator=torch.Generator().manual_seed(2))
    for half in (-2, -1, 0, 1, 2):
        turned = turn(images, [180.0 * half] * 2, fill=fill)
        assert torch.equal(turned, torch.rot90(images, 2 * half, dims=(-2, -1)))


def test_right_angles_of_photographs_are_exact() -> None:
    images = torch.randn(2, 3, 299, 299, generator=torch.Generator().manual_seed(2))
    assert torch.equal(turn(images, [270.0, -90.0]), torch.rot90(images, 3, dims=(-2, -1)))


def test_angles_may_differ_within_a_batch(images: Tensor) -> None:
    for fill in ("mean", "edge", "reflect", "constant"):
        together = turn(images, [10.0, 90.0], fill=fill)
        assert torch.equal(together[:1], turn(images[:1], [10.0], fill=fill))
        assert torch.equal(together[1:], turn(images[1:], [90.0], fill=fill))


def test_positive_angles_turn_counter_clockwise() -> None:
    image = torch.zeros(1, 3, 9, 9)
    image[..., 4, 8] = 1  # the right end of the middle row
    assert turn(image, [90.0])[0, 0, 0, 4] == 1  # has gone to the top of the middle column


def test_the_corner_shows_the_fill(images: Tensor) -> None:
    at_corner = (..., 0, 0)
    assert torch.all(turn(images, [45.0] * 2, fill="mean")[at_corner] == 0)
    grey = turn(images, [45.0] * 2, fill="constant", fill_value=0.25)[at_corner]
    expected = (0.25 - torch.tensor(SPACE.mean)) / torch.tensor(SPACE.std)
    torch.testing.assert_close(grey, expected.expand(2, 3))


def test_edge_and_reflect_leave_no_hole() -> None:
    ones = torch.ones(1, 3, 32, 32)
    for fill in ("edge", "reflect"):
        torch.testing.assert_close(turn(ones, [45.0], fill=fill), ones)


def test_edge_repeats_the_nearest_pixel() -> None:
    image = torch.zeros(1, 3, 33, 33)
    image[..., 0] = 1  # the left column, repeated to the left
    turned = turn(image, [45.0], fill="edge")
    assert turned[0, 0, -1, 0] == pytest.approx(1)  # the lower left corner shows the left side
    assert turned[0, 0, 0, -1] == pytest.approx(0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"fill": "red"},
            "transform.fill=red: must be one of mean, edge, reflect, constant",
        ),
        (
            {"fill_value": 2},
            "transform.fill_value=2: must be a number of at least 0 and of at most 1",
        ),
        ({"fill_value": "grey"}, "transform.fill_value=grey: must be a number of at least 0"),
    ],
)
def test_bad_input_is_named(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Rotation(**parameters)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)

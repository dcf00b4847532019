"""Rotation against an oracle that samples one pixel at a time, and against exact geometry."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from oracles.rotation import rotated
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from xai_sweep.core.errors import InputError
from xai_sweep.models.classifier import Normalisation
from xai_sweep.transforms import Rotation
from xai_sweep.transforms.region import there_and_back_region, unfilled, valid_region

SPACE = Normalisation((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def turn(images: torch.Tensor, angles: list[float], **parameters: object) -> torch.Tensor:
    seeds = torch.zeros(len(images), dtype=torch.int64)
    magnitudes = torch.tensor(angles, dtype=torch.float64)
    return Rotation(angle=angles, **parameters).apply(images, magnitudes, seeds, SPACE)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("angle", [0.5, 7.0, -33.0, 140.0])
def test_agrees_with_one_pixel_at_a_time(images: torch.Tensor, angle: float) -> None:
    turned = turn(images, [angle, angle])
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
        (Rotation(angle).move(images, torch.tensor([angle] * 2)), peer()),
    ):
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("fill", ["mean", "edge", "reflect", "constant"])
def test_right_angles_move_whole_pixels(images: torch.Tensor, fill: str) -> None:
    for quarter in (-1, 0, 1, 2, 3, 4):
        turned = turn(images, [90.0 * quarter] * 2, fill=fill)
        assert torch.equal(turned, torch.rot90(images, quarter, dims=(-2, -1)))


def test_angles_may_differ_within_a_batch(images: torch.Tensor) -> None:
    together = turn(images, [10.0, 40.0])
    assert torch.equal(together[:1], turn(images[:1], [10.0]))
    assert torch.equal(together[1:], turn(images[1:], [40.0]))


def test_positive_angles_turn_counter_clockwise() -> None:
    image = torch.zeros(1, 3, 9, 9)
    image[..., 4, 8] = 1  # the right end of the middle row
    assert turn(image, [90.0])[0, 0, 0, 4] == 1  # has gone to the top of the middle column


def test_the_corner_shows_the_fill(images: torch.Tensor) -> None:
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


def test_valid_region_holds_no_fill_and_is_as_large_as_geometry_allows() -> None:
    angle, size = 30.0, 101
    rotation = Rotation(angle)
    magnitudes = torch.tensor([angle], dtype=torch.float64)
    region = valid_region(rotation, magnitudes, (size, size), "mask")[0]
    filled = rotation.move(torch.ones(1, 1, size, size), magnitudes)[0, 0]
    assert torch.all(filled[region] > 1 - 1e-4)

    # A pixel is inside if its centre, turned back, lies in the square; one pixel is eroded.
    centre = (size - 1) / 2
    rows, columns = np.mgrid[:size, :size] - centre
    turn_by = math.radians(angle)
    source_x = columns * math.cos(turn_by) - rows * math.sin(turn_by)
    source_y = columns * math.sin(turn_by) + rows * math.cos(turn_by)
    farthest = np.maximum(np.abs(source_x), np.abs(source_y))
    assert not region.numpy()[farthest > centre].any()
    assert region.numpy()[farthest < centre - 2.5].all()


def test_an_untouched_image_is_valid_everywhere() -> None:
    for angle in (0.0, 90.0, 180.0, 360.0):
        magnitudes = torch.tensor([angle], dtype=torch.float64)
        for region in ("mask", "rectangle", "none"):
            assert valid_region(Rotation(angle), magnitudes, (20, 20), region).all()
        assert there_and_back_region(Rotation(angle), magnitudes, (20, 20)).all()


def test_erosion_takes_one_pixel_on_each_side() -> None:
    warped = torch.ones(1, 1, 7, 7)
    warped[0, 0, 3, 3] = 0.99
    expected = torch.ones(7, 7, dtype=torch.bool)
    expected[2:5, 2:5] = False
    assert torch.equal(unfilled(warped)[0], expected)


@pytest.mark.parametrize("angle", [0.5, 5.0, 20.0, 40.0])
def test_rectangle_is_the_largest_centred_one(angle: float) -> None:
    magnitudes = torch.tensor([angle], dtype=torch.float64)
    mask = valid_region(Rotation(angle), magnitudes, (60, 40), "mask")[0]
    rectangle = valid_region(Rotation(angle), magnitudes, (60, 40), "rectangle")[0]
    assert torch.all(mask[rectangle])
    rows, columns = (
        rectangle.any(dim=1).nonzero().flatten(),
        rectangle.any(dim=0).nonzero().flatten(),
    )
    top, left = rows[0].item(), columns[0].item()
    assert rectangle[top : 60 - top, left : 40 - left].all()
    assert rectangle.sum() == (60 - 2 * top) * (40 - 2 * left)
    grown = mask[top - 1 : 61 - top, left - 1 : 41 - left]
    assert not grown.all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"angle": "abc"},
            "transform.angle=abc: must be a number, or a list of them [degrees]",
        ),
        ({"angle": []}, "transform.angle=[]: must hold at least one number [degrees]"),
        ({"angle": float("nan")}, "transform.angle=nan: must be a number"),
        ({"angle": 5, "fill": "red"}, "transform.fill=red: must be one of mean, edge, reflect"),
        ({"angle": 5, "fill_value": 2}, "transform.fill_value=2: must be within [0, 1]"),
    ],
)
def test_bad_input_is_named(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Rotation(**parameters)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_magnitudes_are_sorted_and_unique() -> None:
    assert Rotation([10, 0.5, 10.0, 1]).magnitudes == (0.5, 1.0, 10.0)

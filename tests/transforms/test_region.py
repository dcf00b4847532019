"""The valid region against exact geometry."""

import math

import numpy as np
import pytest
import torch

from xai_sweep.transforms import STILL, Rotation, Warp, Zoom
from xai_sweep.transforms.region import there_and_back_region, unfilled, valid_region


def turn(angle: float, size: tuple[int, int]) -> Warp:
    return Rotation().motion(torch.tensor([angle], dtype=torch.float64), size)


def test_it_holds_no_fill_and_is_as_large_as_geometry_allows() -> None:
    angle, size = 30.0, 101
    motion, ones = turn(angle, (size, size)), torch.ones(1, 1, size, size)
    region = valid_region(motion, ones, "mask")[0]
    assert torch.all(motion.move(ones)[0, 0][region] > 1 - 1e-4)

    # A pixel is inside if its centre, turned back, lies in the square; one pixel is eroded.
    centre = (size - 1) / 2
    rows, columns = np.mgrid[:size, :size] - centre
    turn_by = math.radians(angle)
    source_x = columns * math.cos(turn_by) - rows * math.sin(turn_by)
    source_y = columns * math.sin(turn_by) + rows * math.cos(turn_by)
    farthest = np.maximum(np.abs(source_x), np.abs(source_y))
    assert not region.numpy()[farthest > centre].any()
    assert region.numpy()[farthest < centre - 2.5].all()


@pytest.mark.parametrize("region", ["mask", "rectangle", "none"])
def test_an_untouched_image_is_valid_everywhere(region: str) -> None:
    ones = torch.ones(1, 1, 20, 20)
    for motion in (STILL, *(turn(angle, (20, 20)) for angle in (0.0, 90.0, 180.0, 360.0))):
        assert valid_region(motion, ones, region).all()
        assert there_and_back_region(motion, ones).all()


def test_an_enlarged_image_is_valid_everywhere_and_comes_back_in_part() -> None:
    ones = torch.ones(1, 1, 20, 20)
    motion = Zoom().motion(torch.tensor([2.0], dtype=torch.float64), (20, 20))
    assert valid_region(motion, ones, "mask").all()
    home = there_and_back_region(motion, ones)[0]
    # Half of the frame comes back, less the pixels at its border that fill mixes in.
    assert home[7:13, 7:13].all()
    assert not home[:5].any()
    assert not home[:, 15:].any()


def test_erosion_takes_one_pixel_on_each_side() -> None:
    warped = torch.ones(1, 1, 7, 7)
    warped[0, 0, 3, 3] = 0.99
    expected = torch.ones(7, 7, dtype=torch.bool)
    expected[2:5, 2:5] = False
    assert torch.equal(unfilled(warped)[0], expected)


@pytest.mark.parametrize("angle", [0.5, 5.0, 20.0, 40.0])
def test_the_rectangle_is_the_largest_centred_one(angle: float) -> None:
    ones = torch.ones(1, 1, 60, 40)
    mask = valid_region(turn(angle, (60, 40)), ones, "mask")[0]
    rectangle = valid_region(turn(angle, (60, 40)), ones, "rectangle")[0]
    assert torch.all(mask[rectangle])
    rows = rectangle.any(dim=1).nonzero().flatten()
    columns = rectangle.any(dim=0).nonzero().flatten()
    top, left = rows[0].item(), columns[0].item()
    assert rectangle[top : 60 - top, left : 40 - left].all()
    assert rectangle.sum() == (60 - 2 * top) * (40 - 2 * left)
    grown = mask[top - 1 : 61 - top, left - 1 : 41 - left]
    assert not grown.all()

"""Motions against pixels moved by hand."""

import pytest
import torch
from torch import Tensor

from xai_sweep.transforms import STILL, Grid, Rotation, Warp
from xai_sweep.transforms.motion import Motion


def shift(columns: float, rows: float, size: tuple[int, int], count: int = 1) -> Warp:
    """Everything moves to the right and down by so many pixels."""
    height, width = size

    def sources(sign: int) -> Grid:
        x = (2 * (torch.arange(width) - sign * columns) + 1) / width - 1
        y = (2 * (torch.arange(height) - sign * rows) + 1) / height - 1
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
        return Grid(grid.repeat(count, 1, 1, 1))

    return Warp(sources(1), lambda: sources(-1))


def flip(size: tuple[int, int]) -> Warp:
    grid = shift(0, 0, size).grid
    flipped = Grid(grid.sources * torch.tensor([-1.0, 1.0]))
    return Warp(flipped, lambda: flipped)


def turn(angles: list[float], size: tuple[int, int]) -> Warp:
    return Rotation().motion(torch.tensor(angles, dtype=torch.float64), size)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def blocks(size: int = 20) -> Tensor:
    """Labels in blocks of 4 x 4 pixels."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 9, (2, size // 4, size // 4), generator=generator)
    return coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(20, 30), (224, 224), (7, 1)])
def test_shifts_by_whole_pixels_copy_values(size: tuple[int, int], dtype: torch.dtype) -> None:
    images = noise(1, 2, *size).to(dtype)
    motion = shift(-3, 2, size)
    expected = torch.zeros_like(images)
    expected[..., 2:, : max(size[1] - 3, 0)] = images[..., :-2, 3:]
    assert torch.equal(motion.move(images), expected)
    home = torch.zeros_like(images)
    home[..., :-2, 3:] = images[..., :-2, 3:]
    assert torch.equal(motion.move_back(expected), home)


def test_flips_copy_values() -> None:
    images = noise(1, 2, 9, 14)
    assert torch.equal(flip((9, 14)).move(images), images.flip(-1))
    points = torch.tensor([[[0.0, 0.0], [3.5, 2.0]]], dtype=torch.float64)
    moved = flip((9, 14)).move_points(points)
    expected = torch.tensor([[[14.0, 0.0], [10.5, 2.0]]], dtype=torch.float64)
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)


def test_half_a_pixel_is_the_mean_of_two() -> None:
    images = noise(1, 2, 8, 10)
    moved = shift(0.5, 0, (8, 10)).move(images)
    expected = (images[..., :-1] + images[..., 1:]) / 2
    torch.testing.assert_close(moved[..., 1:], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[..., 0], images[..., 0] / 2, atol=1e-5, rtol=0)


def test_half_precision_is_rounded_once_and_not_misplaced() -> None:
    images = noise(1, 1, 224, 224).half()
    motion = turn([7.0], (224, 224))
    expected = motion.move(images.float())
    torch.testing.assert_close(motion.move(images).float(), expected, atol=2e-3, rtol=0)


def test_edge_and_mirror_of_shifts_by_whole_pixels() -> None:
    images = noise(1, 1, 5, 6)
    grid = shift(2, 0, (5, 6)).grid
    order = {"edge": [0, 0, 0, 1, 2, 3], "reflect": [2, 1, 0, 1, 2, 3]}
    for outside, columns in order.items():
        assert torch.equal(grid.resample(images, outside), images[..., columns])


def test_a_mirror_of_a_mirror() -> None:
    """The mirrored image goes on, also where the frame is left by more than its own width."""
    images = torch.arange(4.0).expand(1, 1, 3, 4)
    found = shift(9, 0, (3, 4)).grid.resample(images, "reflect")
    # Columns -9 to -6 of ... 3 2 1 0 1 2 3 2 1 0 1 2 3 ...
    assert found[0, 0, 0].tolist() == [3, 2, 1, 0]


def test_an_image_of_one_column_has_itself_as_mirror() -> None:
    images = noise(1, 1, 5, 1)
    assert torch.equal(shift(3, 0, (5, 1)).grid.resample(images, "reflect"), images)


def test_parts_move_as_the_whole() -> None:
    angles = [10.0, 90.0, 33.0]
    images, labels = noise(3, 2, 12, 12), blocks(12).repeat(2, 1, 1)[:3]
    points = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(2)).double() * 12
    motion: Motion = turn(angles, (12, 12))
    for at in (slice(0, 1), slice(1, 3)):
        part = motion.part(at)
        assert torch.equal(part.move(images[at]), motion.move(images)[at])
        assert torch.equal(part.move_back(images[at]), motion.move_back(images)[at])
        assert torch.equal(part.move_labels(labels[at]), motion.move_labels(labels)[at])
        assert torch.equal(part.move_points(points[at]), motion.move_points(points)[at])


def test_nothing_moves_what_is_still() -> None:
    images, labels = noise(2, 1, 8, 8), blocks(8)
    points = torch.rand(2, 3, 2).double()
    assert STILL.part(slice(0, 1)) is STILL
    assert torch.equal(STILL.move(images), images)
    assert torch.equal(STILL.move_back(images), images)
    assert torch.equal(STILL.move_labels(labels), labels)
    assert torch.equal(STILL.move_points(points), points)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_labels_are_copied_at_right_angles(quarters: int) -> None:
    moved = turn([90.0 * quarters] * 2, (20, 20)).move_labels(blocks())
    assert torch.equal(moved, blocks().rot90(quarters, (-2, -1)))


@pytest.mark.parametrize("angle", [-7.0, 1.0, 12.0, 45.0])
def test_each_pixel_takes_the_nearest_label_and_none_from_outside(angle: float) -> None:
    given, motion = blocks(), turn([angle] * 2, (20, 20))
    moved = motion.move_labels(given)
    inside = motion.move(torch.ones(2, 1, 20, 20))[:, 0] >= 0.5
    assert torch.equal(moved >= 0, inside)
    # The slow way: a map for each label, the largest wins; ties between pixels are left out.
    votes = torch.stack([motion.move((given == n)[:, None].float())[:, 0] for n in range(9)])
    clear = inside & (votes.amax(dim=0) > 0.75)
    assert clear.float().mean() > 0.3
    assert torch.equal(moved[clear], votes.argmax(dim=0)[clear])


def test_a_corner_counts_by_its_area() -> None:
    """0.3 pixels out on both sides, 0.49 of the pixel is inside: less than half."""
    labels = torch.ones(1, 6, 6, dtype=torch.int64)
    moved = shift(0.3, 0.3, (6, 6)).move_labels(labels)
    assert moved[0, 0, 0] == -1
    assert moved[0, 0, 1] == moved[0, 1, 0] == 1


def test_labels_move_each_by_its_own_magnitude() -> None:
    moved = turn([0.0, 90.0], (20, 20)).move_labels(blocks())
    assert torch.equal(moved[0], blocks()[0])
    assert torch.equal(moved[1], blocks()[1].rot90(1, (-2, -1)))


def test_points_beyond_the_pixels_centres_move_too() -> None:
    """The frame's corners, and a point outside of it."""
    points = torch.tensor([[[0.0, 0.0], [10.0, 10.0], [-3.0, 5.0]]], dtype=torch.float64)
    quarter = turn([90.0], (10, 10)).move_points(points)
    expected = torch.tensor([[[0.0, 10.0], [10.0, 0.0], [5.0, 13.0]]], dtype=torch.float64)
    torch.testing.assert_close(quarter, expected, atol=1e-5, rtol=0)


def test_a_box_holds_its_moved_corners() -> None:
    box = torch.tensor([[[2.0, 4.0, 8.0, 6.0]]], dtype=torch.float64)
    found = turn([45.0], (10, 10)).move_boxes(box)
    # A box of 6 by 2 about the centre, turned by 45 degrees, is 8 / sqrt(2) wide and high.
    half = 4 / 2**0.5
    expected = torch.tensor([[[5 - half, 5 - half, 5 + half, 5 + half]]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)

"""The pointing game: by hand, by its definition, and what peers get wrong."""

import re

import pytest
import torch
from metrics.views import view_of
from oracles import metrics as oracles
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.metrics import PointingGame
from xai_sweep.transforms import Rotation

SIDE = 8


def peak(row: int, column: int) -> Tensor:
    """All relevance on one pixel."""
    heatmap = torch.zeros(SIDE, SIDE)
    heatmap[row, column] = 1
    return heatmap


def square() -> Tensor:
    """The object: rows 2 to 4, columns 1 to 3."""
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[2:5, 1:4] = True
    return mask


def score(heatmap: Tensor, mask: Tensor | None, tolerance: float = 0.0, **more: Tensor) -> float:
    one = view_of(heatmap[None, None], masks=[mask], **more)
    return PointingGame(tolerance)(one)["pointing_game"].item()


def test_hit_and_miss() -> None:
    assert score(peak(2, 3), square()) == 1
    assert score(peak(2, 4), square()) == 0


def test_the_largest_positive_relevance_counts_not_the_largest_magnitude() -> None:
    assert score(peak(2, 3) - 9 * peak(7, 7), square()) == 1
    assert score(peak(7, 7) - 9 * peak(2, 3), square()) == 0


def test_several_maxima_share() -> None:
    assert score(peak(2, 1) + peak(4, 3) + peak(6, 6), square()) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("heatmap", "mask"),
    [
        (peak(2, 3), None),
        (peak(2, 3), torch.zeros(SIDE, SIDE, dtype=torch.bool)),
        (peak(2, 3), torch.ones(SIDE, SIDE, dtype=torch.bool)),
        (torch.zeros(SIDE, SIDE), square()),
        (torch.ones(SIDE, SIDE), square()),
        (-torch.ones(SIDE, SIDE), square()),
        (-peak(2, 3), square()),
    ],
    ids=["no annotation", "empty", "full", "zeros", "ones", "minus ones", "nowhere positive"],
)
def test_nothing_to_hit_or_to_miss(heatmap: Tensor, mask: Tensor | None) -> None:
    assert torch.tensor(score(heatmap, mask)).isnan()


def test_one_case_without_annotation_leaves_the_others() -> None:
    both = view_of(torch.stack([peak(2, 3), peak(2, 3)])[:, None], masks=[None, square()])
    assert PointingGame()(both)["pointing_game"].isnan().tolist() == [[True], [False]]


def test_tolerance_is_a_distance_between_pixels() -> None:
    assert score(peak(2, 5), square(), tolerance=1.9) == 0
    assert score(peak(2, 5), square(), tolerance=2) == 1
    assert score(peak(6, 5), square(), tolerance=2.8) == 0  # two down and two to the right
    assert score(peak(6, 5), square(), tolerance=2.9) == 1


def test_a_tolerance_that_reaches_everything_measures_nothing() -> None:
    assert torch.tensor(score(peak(7, 7), square(), tolerance=20)).isnan()


def test_the_object_moves_with_the_image() -> None:
    """A quarter turn counter-clockwise takes row r, column c to row 7 - c, column r."""
    one = view_of(
        torch.stack([peak(7 - 3, 2), peak(2, 3)])[:, None],
        masks=[square()] * 2,
        transform=Rotation(),
        magnitudes=[90.0, 90.0],
    )
    assert PointingGame()(one)["pointing_game"].flatten().tolist() == [1, 0]


def test_pixels_outside_of_the_region_are_not_pointed_at() -> None:
    region = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
    region[0, 6:] = False
    heatmap = peak(2, 3) + 5 * peak(7, 7)
    assert score(heatmap, square(), region=region) == 1
    region[0] = square()  # nothing beside the object is left
    assert torch.tensor(score(heatmap, square(), region=region)).isnan()


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 3])
def test_agrees_with_its_definition(tolerance: float) -> None:
    draw = torch.Generator().manual_seed(4)
    # Few levels, so that there are ties; some maps have nothing positive.
    heatmaps = torch.randint(-3, 3, (20, 1, 7, 9), generator=draw).float()
    heatmaps[:3] -= 3
    masks = [torch.rand(7, 9, generator=draw) > 0.9 for _ in range(20)]
    region = torch.rand(20, 7, 9, generator=draw) > 0.3
    one = view_of(heatmaps, masks=masks, region=region)
    found = PointingGame(tolerance)(one)["pointing_game"].flatten().tolist()
    expected = [
        oracles.pointing_game(
            heatmaps[at, 0].double().numpy(), masks[at].numpy(), region[at].numpy(), tolerance
        )
        for at in range(20)
    ]
    assert found == pytest.approx(expected, nan_ok=True)
    assert sum(value == value for value in expected) > 5


def test_a_tolerance_that_cannot_be() -> None:
    line = "metric.tolerance=-1.0: must be a number of at least 0"
    with pytest.raises(InputError, match=f"^{re.escape(line)}$"):
        PointingGame(tolerance=-1.0)

import pytest
import torch

from xai_sweep.transforms import Rotation

ANGLES = Rotation([0])


def labels(size: int = 20) -> torch.Tensor:
    coarse = torch.randint(
        0, 9, (2, size // 4, size // 4), generator=torch.Generator().manual_seed(0)
    )
    return coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)


def magnitudes(angle: float) -> torch.Tensor:
    return torch.full((2,), angle, dtype=torch.float64)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_right_angles_are_exact(quarters: int) -> None:
    moved = ANGLES.move_labels(labels(), magnitudes(90.0 * quarters))
    assert torch.equal(moved, labels().rot90(quarters, (-2, -1)))


@pytest.mark.parametrize("angle", [-7.0, 1.0, 12.0, 45.0])
def test_each_pixel_takes_the_nearest_label_and_none_from_outside(angle: float) -> None:
    given, turn = labels(), magnitudes(angle)
    moved = ANGLES.move_labels(given, turn)
    inside = ANGLES.move(torch.ones(2, 1, 20, 20), turn)[:, 0] >= 0.5
    assert torch.equal(moved >= 0, inside)
    # The slow way: a map for each label, the largest wins; ties between pixels are left out.
    votes = torch.stack([ANGLES.move((given == n)[:, None].float(), turn)[:, 0] for n in range(9)])
    clear = inside & (votes.amax(dim=0) > 0.75)
    assert clear.float().mean() > 0.3
    assert torch.equal(moved[clear], votes.argmax(dim=0)[clear])


def test_each_image_moves_by_its_own_magnitude() -> None:
    turns = torch.tensor([0.0, 90.0], dtype=torch.float64)
    moved = ANGLES.move_labels(labels(), turns)
    assert torch.equal(moved[0], labels()[0])
    assert torch.equal(moved[1], labels()[1].rot90(1, (-2, -1)))

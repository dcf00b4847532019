"""Overlap of the most relevant pixels, by hand."""

import re

import pytest
import torch

from xai_sweep.core.errors import InputError
from xai_sweep.metrics import Pairs, TopKIoU

RISING = torch.arange(-4.0, 5.0).reshape(1, 3, 3)
EVERYWHERE = torch.ones(1, 3, 3, dtype=torch.bool)


def iou(new: torch.Tensor, reference: torch.Tensor, share: float) -> float:
    """One pair, every pixel valid."""
    return TopKIoU(share).between(Pairs(new, reference, EVERYWHERE)).item()


def test_half_of_each_top_is_shared() -> None:
    """k = 2 of 9: the pixels 7, 8 and, after the exchange of 7 and 0, the pixels 0, 8."""
    exchanged = RISING.clone()
    exchanged[0, 2, 1], exchanged[0, 0, 0] = RISING[0, 0, 0], RISING[0, 2, 1]
    assert iou(exchanged, RISING, share=0.25) == pytest.approx(1 / 3)


def test_no_top_in_a_plateau_of_more_than_twice_the_share() -> None:
    """With k = 2 of 9, four largest pixels have mean rank 7.5, above 7, and five have 7."""
    assert iou(RISING.clamp(max=1), RISING, share=0.25) == pytest.approx(2 / 4)
    assert iou(RISING.clamp(max=0), RISING, share=0.25) == 0


def test_the_sign_counts() -> None:
    assert iou(-RISING, RISING, share=0.25) == 0
    assert iou(-RISING, RISING, share=0.7) == pytest.approx(3 / 9)  # 6 of 9 each, 3 of them shared


def test_at_least_one_pixel() -> None:
    assert iou(RISING, RISING, share=0.001) == 1


def test_the_share_is_of_the_valid_pixels() -> None:
    """k = 2 of the 4 pixels in the corners, which are -4, -2, 2, 4."""
    corners = torch.zeros_like(EVERYWHERE)
    corners[:, ::2, ::2] = True
    mirrored = RISING.flip(-1)  # -2, -4, 4, 2: the same two
    assert TopKIoU(0.5).between(Pairs(mirrored, RISING, corners)).item() == 1
    assert TopKIoU(0.25).between(Pairs(mirrored, RISING, corners)).item() == 0


def test_a_tie_at_the_edge_is_left_or_taken_as_a_whole() -> None:
    """One largest value and eight zeros of mean rank 4.5: of k = 4 only the first is chosen."""
    peak = torch.zeros(1, 3, 3)
    peak[0, 1, 1] = 1
    assert iou(peak, RISING, share=0.45) == 0  # {4} and {5, 6, 7, 8}
    assert iou(peak, RISING, share=0.55) == pytest.approx(5 / 9)  # all nine and {4, ..., 8}


def test_no_top_in_a_constant_map() -> None:
    constant = torch.ones(1, 3, 3)
    assert iou(constant, RISING, share=0.25) == 0
    assert torch.tensor(iou(constant, constant, share=0.25)).isnan()


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_a_map_that_is_not_finite_is_undefined(share: float) -> None:
    broken = RISING.clone()
    broken[0, 1, 1] = torch.nan
    assert torch.tensor(iou(broken, RISING, share)).isnan()
    assert torch.tensor(iou(RISING, broken, share)).isnan()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 5.0, float("nan")])
def test_a_share_that_cannot_be(share: float) -> None:
    line = f"metric.share={share}: must be a number above 0 and below 1"
    with pytest.raises(InputError, match=f"^{re.escape(line)}$"):
        TopKIoU(share)

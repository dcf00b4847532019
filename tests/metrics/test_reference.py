"""The reference against itself: there and back, and a second draw."""

import re

import pytest
import torch
from metrics.catalogue import DISTANCES, metric
from metrics.views import view_of
from oracles import metrics as oracles

from xai_sweep.core.errors import InputError
from xai_sweep.metrics import RMSE, SSIM, Deletion, Euclidean, Pairs, SecondDraw, ThereAndBack
from xai_sweep.transforms import GaussianNoise, Rotation
from xai_sweep.transforms.region import there_and_back_region

MAPS = torch.randn(3, 2, 20, 22, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(3, 2, 20, 22, generator=torch.Generator().manual_seed(1))
ANGLES = [5.0, 20.0, 90.0]


def test_there_and_back_is_what_two_interpolations_change() -> None:
    one = view_of(OTHER, MAPS, transform=Rotation(), magnitudes=ANGLES)
    found = ThereAndBack()(one)["rmse_there_and_back"]
    home = there_and_back_region(one.motion, torch.ones_like(MAPS[:, :1]))
    back = one.motion.move_back(one.motion.move(MAPS))
    for case in range(2):
        for rank in range(2):
            maps = (each[case, rank].double().numpy() for each in (back, MAPS))
            expected = oracles.rmse(*maps, home[case].numpy())
            assert expected > 0.1
            assert found[case, rank].item() == pytest.approx(expected, rel=1e-5)


def test_there_and_back_does_not_see_the_counterpart() -> None:
    given = {"transform": Rotation(), "magnitudes": ANGLES}
    first = ThereAndBack()(view_of(OTHER, MAPS, **given))["rmse_there_and_back"]  # type: ignore[arg-type]
    again = ThereAndBack()(view_of(MAPS, MAPS, **given))["rmse_there_and_back"]  # type: ignore[arg-type]
    assert torch.equal(first, again)


@pytest.mark.parametrize("angle", [0.0, 180.0, -360.0])
def test_exactly_zero_where_pixels_are_copied(angle: float) -> None:
    one = view_of(OTHER, MAPS, transform=Rotation(), magnitudes=[angle] * 3)
    assert (ThereAndBack()(one)["rmse_there_and_back"] == 0).all()


def test_exactly_zero_for_pixels_that_stay() -> None:
    one = view_of(OTHER, MAPS, transform=GaussianNoise(), magnitudes=[0.5] * 3)
    assert (ThereAndBack()(one)["rmse_there_and_back"] == 0).all()


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_any_distance(name: str) -> None:
    turned = metric("there_and_back", distance=name)
    again = metric("second_draw", distance=name)
    assert [column.name for column in turned.columns] == [f"{name}_there_and_back"]
    assert turned.columns[0].better == DISTANCES[name].column.better
    one = view_of(OTHER, MAPS, second=OTHER, transform=Rotation(), magnitudes=ANGLES)
    home = there_and_back_region(one.motion, torch.ones_like(MAPS[:, :1]))[:, None]
    back = one.motion.move_back(one.motion.move(MAPS))
    expected = DISTANCES[name].between(Pairs(back, MAPS, home))
    torch.testing.assert_close(turned(one)[f"{name}_there_and_back"], expected, rtol=1e-12, atol=0)
    everywhere = torch.ones_like(home)
    expected = DISTANCES[name].between(Pairs(OTHER, MAPS, everywhere))
    assert torch.equal(again(one)[f"{name}_second_draw"], expected)


def test_second_draw_is_over_the_whole_frame() -> None:
    region = torch.zeros(3, 20, 22, dtype=torch.bool)
    region[:, :2, :2] = True
    found = SecondDraw()(view_of(MAPS, MAPS, second=OTHER, region=region))["rmse_second_draw"]
    expected = (MAPS.double() - OTHER.double()).square().mean(dim=(2, 3)).sqrt()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_a_method_that_draws_nothing_has_no_second_draw() -> None:
    assert (SecondDraw()(view_of(OTHER, MAPS))["rmse_second_draw"] == 0).all()


def test_every_counterpart_of_a_case_has_its_second_draw() -> None:
    once = view_of(MAPS, MAPS, second=OTHER)
    pairs = view_of(MAPS, MAPS, second=OTHER)
    cases = (pairs.cases[0], pairs.cases[2], pairs.cases[0])
    object.__setattr__(pairs, "cases", cases)
    expected = SecondDraw()(once)["rmse_second_draw"][[0, 2, 0]]
    assert torch.equal(SecondDraw()(pairs)["rmse_second_draw"], expected)


def test_neither_is_said_to_be_a_floor() -> None:
    for each in (ThereAndBack(), SecondDraw()):
        assert "Not a floor" in each.columns[0].description


def test_scale_is_that_of_the_distance() -> None:
    assert ThereAndBack().scale == ThereAndBack(Euclidean()).scale == "proportional"
    assert ThereAndBack(SSIM()).scale == "invariant"


@pytest.mark.parametrize("given", ["rmse", Deletion()])
def test_only_a_distance_can_be_the_distance(given: object) -> None:
    line = f"metric.distance={given}: must be a metric that compares two heatmaps"
    with pytest.raises(InputError, match=f"^{re.escape(line)}$"):
        ThereAndBack(distance=given)  # type: ignore[arg-type]


def test_the_default_distance_is_rmse() -> None:
    assert metric("there_and_back") == ThereAndBack(RMSE())
    assert metric("second_draw") == SecondDraw(RMSE())

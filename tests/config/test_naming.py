"""What a job is called beside others."""

import pytest

from xai_sweep.config.cells import Curve
from xai_sweep.config.keys import add_schema
from xai_sweep.config.names import axes, run_name
from xai_sweep.config.points import composed

TITLE = "vgg16 · lrp · rotation"
SMALL = [0.5, 1.0, 5.0, 10.0]


def name(words: list[str], magnitudes: list[float], parameter: str = "angle") -> str:
    add_schema()
    curve = Curve("photos-1234", "vgg16", "lrp", "rotation", parameter, {})
    data = [word.partition("=")[2] for word in words if word.startswith("data=")]
    return run_name(composed(words), {"data": [*data, "samples"][0]}, curve, magnitudes)


@pytest.mark.parametrize(
    ("words", "magnitudes", "rest"),
    [
        ([], SMALL, ""),
        ([], [0.5], " · angle=0.5"),
        ([], [15.0, 20.0], " · angle=15,20"),
        (["seed=3", "ranks=4", "region=none"], SMALL, " · seed=3 · region=none"),
        (["data=folder", "data.root=/secret"], SMALL, " · photos-1234"),
        (["data.limit=2"], SMALL, " · photos-1234"),
        (["region_of=[1,2]"], [1.0], " · angle=1 · region_of=[1, 2]"),
    ],
)
def test_a_name_says_what_differs(words: list[str], magnitudes: list[float], rest: str) -> None:
    assert name(words, magnitudes) == TITLE + rest


def test_no_change_is_no_magnitude() -> None:
    assert name([], [0.0], parameter="identity") == TITLE


def test_an_axis_for_each_group_of_the_grid() -> None:
    curve = Curve("photos-1234", "vgg16", "lrp(rules=flat)", "rotation", "angle", {})
    assert axes(curve) == {
        "model": "vgg16",
        "explainer": "lrp(rules=flat)",
        "transform": "rotation",
        "data": "photos-1234",
    }

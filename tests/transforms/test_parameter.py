"""Magnitudes as they are typed."""

import numpy as np
import pytest
from omegaconf import OmegaConf

from xai_sweep.core.errors import InputError
from xai_sweep.transforms import Parameter

ANGLE = Parameter("angle", "degrees")
SIGMA = Parameter("sigma", "units", minimum=0)
SHARE = Parameter("share", "share", minimum=0, maximum=1)
FACTOR = Parameter("factor", "times", neutral=1, above=0)
RANK = Parameter("rank", "classes", neutral=1, minimum=1, is_whole=True)


def test_magnitudes_are_sorted_and_unique() -> None:
    assert ANGLE.values([10, 0.5, 10.0, 1]) == (0.5, 1.0, 10.0)
    assert ANGLE.values(5) == (5.0,)
    assert RANK.values([3, 2.0]) == (2.0, 3.0)


def test_lists_may_come_from_anywhere() -> None:
    assert ANGLE.values(OmegaConf.create([2, 1])) == (1.0, 2.0)
    assert ANGLE.values(np.array([2.0, 1.0])) == (1.0, 2.0)
    assert ANGLE.values(range(2)) == (0.0, 1.0)


def test_bounds_are_included_unless_declared_otherwise() -> None:
    assert SHARE.values([0, 1]) == (0.0, 1.0)
    assert FACTOR.values(1e-9) == (1e-9,)


@pytest.mark.parametrize(
    ("parameter", "given", "message"),
    [
        (ANGLE, "abc", "transform.angle=abc: must be a number, or a list of them [degrees]"),
        (ANGLE, None, "transform.angle=null: must be a number, or a list of them [degrees]"),
        (ANGLE, [], "transform.angle=[]: must hold at least one number [degrees]"),
        (
            ANGLE,
            float("nan"),
            "transform.angle=nan: must be a number, or a list of them [degrees]",
        ),
        (
            ANGLE,
            [1, float("inf")],
            "transform.angle=[1, inf]: must be a number, or a list of them [degrees]",
        ),
        (
            SIGMA,
            -0.1,
            "transform.sigma=-0.1: must be a number of at least 0, or a list of them [units]",
        ),
        (
            SIGMA,
            [0.1, "much"],
            "transform.sigma=[0.1, 'much']: must be a number of at least 0, or a list of them "
            "[units]",
        ),
        (
            SIGMA,
            True,
            "transform.sigma=true: must be a number of at least 0, or a list of them [units]",
        ),
        (
            SHARE,
            1.5,
            "transform.share=1.5: must be a number of at least 0 and of at most 1, or a list of "
            "them [share]",
        ),
        (FACTOR, 0, "transform.factor=0: must be a number above 0, or a list of them [times]"),
        (
            RANK,
            1.5,
            "transform.rank=1.5: must be a whole number of at least 1, or a list of them [classes]",
        ),
    ],
)
def test_bad_input_is_named(parameter: Parameter, given: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parameter.values(given)
    assert str(caught.value) == message

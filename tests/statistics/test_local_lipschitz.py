"""The local Lipschitz estimate: by hand, and against an oracle that goes row by row."""

import math

import numpy as np
import pandas as pd
import pytest
from oracles.local_lipschitz import local_lipschitz as oracle
from stored import column

from xai_sweep.core.errors import InputError
from xai_sweep.results import local_lipschitz
from xai_sweep.store.schema import table

NAN = float("nan")


def frame(make_rows, draws, **changed):
    """Rows of one image with these (euclidean, image_distance) per draw; None is a failed draw."""
    rows = []
    for number, distances in enumerate(draws):
        known = {"draws": len(draws), "draw": number, **changed}
        if distances is None:
            rows += make_rows(["cat"], failed=["cat"], **known)
        else:
            known |= {"euclidean": distances[0], "image_distance": distances[1]}
            rows += make_rows(["cat"], **known)
    return table(rows, [column("euclidean")]).to_pandas()


@pytest.mark.parametrize(
    ("draws", "expected"),
    [
        ([(1.0, 2.0), (6.0, 4.0), (3.0, 3.0)], 1.5),
        ([(0.0, 0.0)], 0.0),
        ([(0.0, 0.0), (1.0, 4.0)], 0.25),
        ([(1.0, 0.0), (1.0, 4.0)], NAN),
        ([(NAN, 1.0), (1.0, 4.0)], NAN),
        ([None, (1.0, 4.0)], NAN),
        ([(0.0, 2.0)], 0.0),
    ],
)
def test_by_hand(make_rows, draws, expected):
    found = local_lipschitz(frame(make_rows, draws))
    assert found["local_lipschitz"].tolist() == pytest.approx([expected] * 2, nan_ok=True)
    assert found["draws"].tolist() == [len(draws)] * 2
    assert found["rank"].tolist() == [1, 2]


def test_magnitudes_and_questions_are_apart(make_rows):
    rows = pd.concat(
        [
            frame(make_rows, [(1.0, 1.0)], magnitude=1.0),
            frame(make_rows, [(2.0, 1.0)], magnitude=2.0),
            frame(make_rows, [(9.0, 1.0)], magnitude=1.0, question="other", region="none"),
        ]
    )
    found = local_lipschitz(rows[rows["rank"] == 1])
    lines = found[["question", "magnitude", "local_lipschitz"]].to_numpy().tolist()
    assert lines == [["a question", 1.0, 1.0], ["a question", 2.0, 2.0], ["other", 1.0, 9.0]]


@pytest.mark.parametrize("seed", range(3))
def test_against_the_oracle(make_rows, seed):
    generator = np.random.default_rng(seed)
    rows = []
    for image in ("cat", "moon", "rocket"):
        for draw in range(4):
            for row in make_rows([image], draws=4, draw=draw):
                pair = generator.choice([0.0, 0.5, 2.0, NAN], 2, p=[0.2, 0.4, 0.35, 0.05])
                rows.append(row | dict(zip(("euclidean", "image_distance"), pair, strict=True)))
    found = local_lipschitz(table(rows, [column("euclidean")]).to_pandas())
    keys = ("question", "magnitude", "image_id", "rank")
    by_key = {
        tuple(line[name] for name in keys): line["local_lipschitz"]
        for line in found.to_dict("records")
    }
    # The oracle has NaN where a distance of the image is missing, as that is no number either.
    expected = oracle(rows)
    assert by_key.keys() == expected.keys()
    for key, value in expected.items():
        assert by_key[key] == pytest.approx(value, nan_ok=True), key
    assert any(math.isnan(value) for value in expected.values())
    assert any(value > 0 for value in expected.values())


def test_a_linear_map_is_as_steep_as_its_largest_weight(make_rows):
    # The map is w * x: the ratio is largest, |w|, where the change is at the largest weight alone.
    weights = np.array([0.5, -3.0, 1.0])
    changes = np.eye(3) * 0.1
    draws = [
        (float(np.linalg.norm(weights * each)), float(np.linalg.norm(each))) for each in changes
    ]
    found = local_lipschitz(frame(make_rows, draws))
    assert found["local_lipschitz"].tolist() == pytest.approx([3.0, 3.0])


def test_what_cannot_be_computed_is_refused(make_rows):
    rows = frame(make_rows, [(1.0, 1.0), (1.0, 2.0)])
    with pytest.raises(InputError) as caught:
        local_lipschitz(rows.drop(columns="euclidean"))
    assert str(caught.value) == "rows=without euclidean: must be computed with metric=[euclidean]"
    with pytest.raises(InputError) as caught:
        local_lipschitz(rows[rows["draw"] == 0])
    assert str(caught.value) == ("rows=1 of 2 draws of image cat: must hold every draw of an image")

"""Where LIME's instability comes from, by hand."""

import pytest
from stored import COLUMNS, column

from xai_sweep.statistics.instability import instabilities, instability
from xai_sweep.store.manifest import described_columns
from xai_sweep.store.schema import table
from xai_sweep.store.store import Store

DECLARED = (*COLUMNS, column("rmse_second_draw"))


def _frame(rows):
    return table(rows, DECLARED).to_pandas()


def test_the_parts_by_hand_and_the_image_is_the_unit(make_rows):
    own = make_rows(["cat", "coffee", "page"], failed=["page"], rmse=5.0, rmse_second_draw=3.0)
    moved = make_rows(["cat", "coffee", "page"], rmse=4.0, rmse_second_draw=1.0, question="moved")
    own[0]["rmse"] = 7.0
    found = instability(_frame(own), _frame(moved))
    # cat: (49 + 25) / 2 = 37, coffee: 25; sampling (9 + 1) / 2 = 5; moved 16.
    (row,) = found.to_dict("records")
    assert row["images"] == 2
    assert row["squared"] == 31
    assert row["sampling"] == 5
    assert row["segmentation"] == 15
    assert row["rest"] == 11
    assert row["sampling"] + row["segmentation"] + row["rest"] == row["squared"]


def test_a_row_per_magnitude(make_rows):
    own, moved = (
        [
            *make_rows(["cat"], magnitude=10.0, rmse=rmse, rmse_second_draw=0.0),
            *make_rows(["cat"], magnitude=5.0, rmse_second_draw=0.0),
        ]
        for rmse in (2.0, 1.0)
    )
    found = instability(_frame(own), _frame(moved))
    assert found["magnitude"].tolist() == [5.0, 10.0]
    assert found["segmentation"].tolist() == pytest.approx([0.0, 3.0])


def test_rows_are_joined_by_draw(make_rows):
    own, moved = (
        [
            row
            for draw in (0, 1)
            for row in make_rows(
                ["cat"], draws=2, draw=draw, rmse=scale * (draw + 1), rmse_second_draw=0.0
            )
        ]
        for scale in (2.0, 1.0)
    )
    (row,) = instability(_frame(own), _frame(moved)).to_dict("records")
    # Draws: 4 - 1 and 16 - 4. Joined without the draw they would be 4, 4, 16, 16 with 1, 4, 1, 4.
    assert (row["images"], row["segmentation"], row["rest"]) == (1, 7.5, 2.5)


def write(root, make_rows, name, segments, rmse, region="mask"):
    cell = Store(root).cell(name)
    cell.begin()
    rows = make_rows(
        ["cat"], cell=name, question=name, region=region, rmse=rmse, rmse_second_draw=0.0
    )
    cell.write(table(rows, DECLARED))
    identity = {"explainer": {"masks": "independent", "superpixels": segments}, "region": region}
    described = described_columns({None: DECLARED})
    cell.finish({"cell": name, "identity": identity, "columns": described})


def test_runs_that_differ_in_their_superpixels_alone_belong_together(tmp_path, make_rows):
    for region, scale in (("mask", 1.0), ("none", 10.0)):
        write(tmp_path, make_rows, f"own-{region}", "own", 2.0 * scale, region)
        write(tmp_path, make_rows, f"moved-{region}", "moved", 1.0 * scale, region)
    write(tmp_path, make_rows, "alone", "own", 1.0, "rectangle")
    found = instabilities(tmp_path)
    assert found[["region", "segmentation"]].to_numpy().tolist() == [["mask", 3.0], ["none", 300.0]]


def test_nothing_belongs_together(tmp_path, make_rows):
    write(tmp_path, make_rows, "alone", "own", 1.0)
    assert instabilities(tmp_path).empty

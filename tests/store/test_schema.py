import subprocess
import sys

import pyarrow as pa
import pytest

from xai_sweep.store.schema import (
    SCHEMA_VERSION,
    VERSION_KEY,
    conforming,
    metric_columns,
    schema,
    science,
    table,
)

WHO = "cell sweep image_id image_path label_true data model explainer transform parameter magnitude"
WHO += " seed rank"
MODEL = "class_ref label_ref prob_ref class_new label_new prob_new prob_ref_new flipped"
AFTER = (
    "rmse_interpolation rmse_sampling valid_fraction finite relevance_ratio bias_share "
    "stabilizer_share surrogate_r2 num_samples coefficient_stderr error"
)


def test_metrics_stand_between_what_the_model_said_and_the_floors():
    expected = f"{WHO} {MODEL} rmse ssim {AFTER}".split()
    assert schema(["rmse", "ssim"]).names == expected
    assert metric_columns(expected) == ["rmse", "ssim"]


def test_every_column_has_a_description_and_a_type():
    for field in schema(["rmse"]):
        assert field.metadata[b"description"].endswith(b".")
        assert field.type != pa.null()
    assert schema([]).metadata[VERSION_KEY] == str(SCHEMA_VERSION).encode()


def test_only_columns_known_before_an_image_is_read_are_never_null():
    required = [field.name for field in schema(["rmse"]) if not field.nullable]
    assert required == [name for name in WHO.split() if name != "label_true"]


def test_science_is_all_but_where_a_row_came_from():
    names = schema(["rmse"]).names
    assert set(names) - set(science(names)) == {"sweep", "image_path"}


def test_a_metric_may_not_take_the_name_of_another_column():
    with pytest.raises(ValueError, match=r"name of another column: error, rank$"):
        schema(["rank", "rmse", "error"])


def test_a_table_keeps_types_when_all_values_are_null(make_rows):
    rows = table(make_rows(["cat"], failed=["cat"]))
    assert rows.schema.equals(schema(["rmse", "nrmse", "spearman"]), check_metadata=True)
    assert rows["rmse"].null_count == rows.num_rows == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rmsee": 1.0}, "unknown columns: rmsee"),
        ({"image_id": None}, "image_id must not be null"),
    ],
)
def test_rows_that_do_not_match_are_refused(make_rows, change, message):
    first, second = make_rows(["cat"])
    with pytest.raises(ValueError, match=message):
        table([first, second | change])


def test_a_missing_column_is_refused(make_rows):
    rows = make_rows(["cat"])
    del rows[1]["rmse"]
    with pytest.raises(ValueError, match="columns: rmse"):
        table(rows)
    with pytest.raises(ValueError, match="columns: seed"):
        conforming(table(make_rows(["cat"])).drop_columns("seed"))
    with pytest.raises(ValueError, match="at least one row"):
        table([])


def test_a_table_of_other_types_and_order_is_cast(make_rows):
    rows = table(make_rows(["cat"]))
    plain = pa.Table.from_pylist(rows.to_pylist()).select(rows.column_names[::-1])
    plain = plain.set_column(0, "error", pa.array([None, None], pa.null()))
    assert conforming(plain).schema.field("error").type == pa.string()
    assert conforming(plain.select(rows.column_names)).equals(rows)


def test_nothing_here_imports_torch():
    code = "import sys, xai_sweep.results; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

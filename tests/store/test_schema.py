"""The columns of a row: the spine, and what metrics and explainers declare."""

import subprocess
import sys

import pyarrow as pa
import pytest
from stored import COLUMNS, ENTRIES, KNOWN, METRICS, column

from xai_sweep.core.columns import Column
from xai_sweep.core.errors import InputError
from xai_sweep.store.schema import (
    SCHEMA_VERSION,
    VERSION_KEY,
    comparable,
    conforming,
    declared_columns,
    metric_columns,
    metrics_of,
    schema,
    table,
)

SPINE = [
    "cell",
    "question",
    "sweep",
    "image_id",
    "image_path",
    "label_true",
    "data",
    "model",
    "explainer",
    "is_control",
    "transform",
    "parameter",
    "magnitude",
    "seed",
    "target",
    "region",
    "region_of",
    "draws",
    "draw",
    "rank",
    "class_ref",
    "label_ref",
    "prob_ref",
    "class_new",
    "label_new",
    "prob_new",
    "prob_ref_new",
    "class_explained",
    "flipped",
    "image_distance",
    "logit_distance",
    "valid_fraction",
    "finite",
    "error",
]


def test_declared_columns_follow_the_spine() -> None:
    names = schema([column("rmse"), column("ssim")]).names
    assert names == [*SPINE, "rmse", "ssim"]
    assert metric_columns(names) == ["rmse", "ssim"]
    assert schema([]).metadata[VERSION_KEY] == str(SCHEMA_VERSION).encode() == b"2"


def test_a_field_carries_what_its_column_declares() -> None:
    declared = Column("n", "How many.", "int32", better="lower", null="none", source="a book")
    field = schema([declared]).field("n")
    assert field.type == pa.int32()
    assert field.metadata == {
        **{b"description": b"How many.", b"better": b"lower"},
        **{b"null": b"none", b"source": b"a book"},
    }
    assert declared_columns(schema([declared])) == [declared]
    for field in schema([]):
        assert field.metadata[b"description"].endswith(b".")


@pytest.mark.parametrize("kind", ["float64", "int64", "int32", "int8", "bool", "string"])
def test_every_kind_of_column_comes_back(kind, make_rows) -> None:
    declared = Column("extra", "Something.", kind)
    value = {"bool": True, "string": "text"}.get(kind, 3)
    rows = table([row | {"extra": value} for row in make_rows(["cat"])], [declared])
    assert rows["extra"].to_pylist() == [value] * 2
    assert declared_columns(rows.schema) == [declared]


def test_only_columns_known_before_an_image_is_read_are_never_null() -> None:
    assert [field.name for field in schema([]) if not field.nullable] == list(KNOWN)


def test_columns_that_say_where_a_row_came_from_are_not_compared() -> None:
    names = schema(COLUMNS).names
    assert set(names) - set(comparable(names)) == {"sweep", "image_path"}


@pytest.mark.parametrize("name", ["rank", "rmse"])
def test_two_columns_of_the_same_name_are_refused(name) -> None:
    with pytest.raises(InputError) as caught:
        schema([column("rmse"), column(name)])
    assert str(caught.value) == (
        f"metric={name}: must give columns whose names no other column of the rows has"
    )


def test_a_table_keeps_types_and_entries_when_all_values_are_null(make_table) -> None:
    rows = make_table(["cat"], failed=["cat"])
    assert rows.schema.equals(schema(COLUMNS))
    assert rows["rmse"].null_count == rows.num_rows == 2
    assert metrics_of(rows.schema) == ENTRIES


def test_only_a_failed_row_may_lack_columns(make_rows) -> None:
    rows = make_rows(["cat", "page"], failed=["page"])
    assert "rmse" not in rows[2]
    assert table(rows, COLUMNS)["rmse"].to_pylist() == [0.5, 1.0, None, None]
    del rows[1]["rmse"]
    with pytest.raises(ValueError, match=r"^row without columns: rmse$"):
        table(rows, COLUMNS)
    with pytest.raises(ValueError, match="at least one row"):
        table([], COLUMNS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": None}, "column image_id must not be null"),
        ({"rmse": "low"}, "column rmse: .*low"),
        ({"class_ref": "tabby"}, "column class_ref: .*tabby"),
    ],
)
def test_rows_that_do_not_match_are_refused(make_rows, change, message) -> None:
    first, second = make_rows(["cat"])
    with pytest.raises(ValueError, match=message):
        table([first, second | change], COLUMNS)


def test_columns_of_other_cells_are_left_out(make_rows) -> None:
    assert metric_columns(table(make_rows(["cat"]), COLUMNS[:1]).column_names) == ["rmse"]


def test_a_table_of_other_types_and_order_is_cast(make_table) -> None:
    rows = make_table(["cat"])
    plain = pa.Table.from_pylist(rows.to_pylist()).select(rows.column_names[::-1])
    at = plain.column_names.index("error")
    plain = plain.set_column(at, "error", pa.array([None, None], pa.null()))
    assert conforming(plain).schema.field("error").type == pa.string()
    assert conforming(plain).column_names == [*SPINE, *METRICS[::-1]]
    with pytest.raises(ValueError, match=r"^table without columns: seed$"):
        conforming(plain.drop_columns("seed"))


@pytest.mark.parametrize("room", ["results", "store", "statistics", "report"])
def test_torch_is_not_imported(room) -> None:
    code = (
        f"import pkgutil, sys, xai_sweep.{room} as room\n"
        "for each in pkgutil.walk_packages(getattr(room, '__path__', ()), room.__name__ + '.'):\n"
        "    __import__(each.name)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

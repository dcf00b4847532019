"""The columns of a row.

The spine is defined here and is the same in every cell: what a row is about, what the model
predicted, and whether the image failed. The columns behind it are declared by the metrics and
explainers that compute them (`xai_sweep.core.columns.Column`), and a cell holds only those that
were computed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import pyarrow as pa

from xai_sweep.core.columns import Column, Kind
from xai_sweep.core.errors import InputError

SCHEMA_VERSION = 2
VERSION_KEY = b"xai_sweep.schema"
# In the metadata of a shard: the metric entries whose columns it holds, with their configuration.
METRICS_KEY = b"xai_sweep.metrics"

# A row is identified by these.
PRIMARY_KEY = ("cell", "image_id", "draw", "rank")
# These say where a row came from. All other columns are equal in any two runs of the same cell.
BOOKKEEPING = ("sweep", "image_path")
# These are equal in all rows of a curve. Rows of different questions are never averaged.
QUESTION = (
    *("question", "data", "model", "explainer", "is_control", "transform", "parameter"),
    *("seed", "target", "region", "region_of", "draws"),
)
# These are equal in all rows of a cell, and stand in its manifest too.
CONSTANT = ("cell", *QUESTION, "magnitude")

_NEVER = "never"
_TYPES: dict[Kind, pa.DataType] = {
    "float64": pa.float64(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "int8": pa.int8(),
    "bool": pa.bool_(),
    "string": pa.string(),
}
assert set(_TYPES) == set(get_args(Kind))
_KINDS: dict[pa.DataType, Kind] = {kind: name for name, kind in _TYPES.items()}


def _known(name: str, description: str, kind: Kind = "string") -> Column:
    """A column that is known before an image is read, and so is never missing."""
    return Column(name, description, kind, null=_NEVER)


def _measured(name: str, description: str, kind: Kind = "string") -> Column:
    return Column(name, description, kind, null="the image failed")


SPINE: tuple[Column, ...] = (
    _known("cell", "Key of the cell."),
    _known(
        "question",
        "Key of everything that decides a curve's numbers except the magnitude. Only rows of the "
        "same question may be averaged.",
    ),
    _known("sweep", "Name of the sweep that computed the row."),
    _known("image_id", "Name of the image within its data set, the same wherever the set lies."),
    _known("image_path", "File the image was read from."),
    Column(
        "label_true",
        "Label given by the data set.",
        "string",
        null="the data set has no labels",
    ),
    _known("data", "The data set: its name and the beginning of the hash of its images."),
    _known("model", "Name of the classifier."),
    _known("explainer", "Name of the explanation method."),
    _known("is_control", "The method looks at nothing that it should explain.", "bool"),
    _known("transform", "Name of the transform."),
    _known("parameter", "Parameter of the transform that the magnitude is a value of."),
    _known("magnitude", "How much was changed, in the parameter's native unit.", "float64"),
    _known("seed", "Seed that all randomness is derived from.", "int64"),
    _known(
        "target",
        "Which class is explained after the change: `class`, that of the clean image; `rank`, the "
        "one of the same rank.",
    ),
    _known("region", "Which pixels are compared: `mask`, `rectangle` or `none`."),
    _known(
        "region_of",
        "Magnitudes whose regions are intersected with each one's own: `own`, `all`, or a list.",
    ),
    _known("draws", "How many random instances of the change each image has.", "int32"),
    _known("draw", "Which of them the row is about, from 0.", "int32"),
    _known("rank", "Rank of the target among the best classes of the clean image, from 1.", "int8"),
    _measured("class_ref", "Class of the clean image at this rank.", "int32"),
    _measured("label_ref", "Name of `class_ref`."),
    _measured("prob_ref", "Probability of `class_ref` in the clean image.", "float64"),
    _measured("class_new", "Class of the counterpart at this rank.", "int32"),
    _measured("label_new", "Name of `class_new`."),
    _measured("prob_new", "Probability of `class_new` in the counterpart.", "float64"),
    _measured("prob_ref_new", "Probability of `class_ref` in the counterpart.", "float64"),
    _measured("class_explained", "Class that was explained in the counterpart.", "int32"),
    _measured(
        "flipped",
        "The first class of the counterpart differs from that of the clean image, or, where each "
        "class has a probability by itself, that class crosses 0.5; the same for all ranks of an "
        "image.",
        "bool",
    ),
    _measured(
        "image_distance",
        "Euclidean distance of the counterpart's image from the clean one over all pixels and "
        "channels, in pixel units (0 to 1).",
        "float64",
    ),
    _measured(
        "logit_distance",
        "Euclidean distance of the logits of all classes from those of the clean image.",
        "float64",
    ),
    _measured("valid_fraction", "Share of the pixels that are compared, 0 to 1.", "float64"),
    _measured("finite", "Both heatmaps are free of NaN and infinity.", "bool"),
    Column("error", "Why the image failed, in one line.", "string", null="the image did not fail"),
)

FIXED = frozenset(column.name for column in SPINE)


def schema(columns: Sequence[Column]) -> pa.Schema:
    """The schema of a cell's rows: the spine, then these columns.

    Every field carries its description, `better`, `null` and `source` as metadata, the schema its
    version.

    Raises:
        InputError: two columns have the same name.
    """
    taken = set(FIXED)
    for column in columns:
        if column.name in taken:
            allowed = "must give columns whose names no other column of the rows has"
            raise InputError("metric", column.name, allowed)
        taken.add(column.name)
    fields = [_field(column) for column in (*SPINE, *columns)]
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()})


def _field(column: Column) -> pa.Field:
    facts = {
        "description": column.description,
        "better": column.better or "",
        "null": column.null,
        "source": column.source,
    }
    nullable = column.null != _NEVER
    return pa.field(column.name, _TYPES[column.kind], nullable=nullable, metadata=facts)


def declared_columns(found: pa.Schema) -> list[Column]:
    """The columns beyond the spine, as the metadata of a shard declares them.

    Raises:
        ValueError: a column of a type that no row has.
    """
    return [_declared(field) for field in found if field.name not in FIXED]


def _declared(field: pa.Field) -> Column:
    if field.type not in _KINDS:
        raise ValueError(f"column {field.name} of type {field.type}")
    facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    return Column(
        field.name,
        facts.get("description", ""),
        _KINDS[field.type],
        facts.get("better") or None,
        facts.get("null", "undefined"),
        facts.get("source", ""),
    )


def metric_columns(names: Iterable[str]) -> list[str]:
    """Those of the column names that are not of the spine, in their order."""
    return [name for name in names if name not in FIXED]


def comparable(names: Iterable[str]) -> list[str]:
    """Those of the column names that must be equal in two runs of the same cell."""
    return [name for name in names if name not in BOOKKEEPING]


def table(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[Column],
    metrics: Mapping[str, Any] | None = None,
) -> pa.Table:
    """Rows as a table.

    Args:
        rows: at least one. A row without an error has every column as a key, None for null; a
            failed one may lack what it has no value for. Further keys are left out.
        columns: those beyond the spine.
        metrics: the configuration of each metric entry that these columns come from; kept in the
            metadata, see `metrics_of`.

    Raises:
        InputError: two columns have the same name.
        ValueError: a column without a key, null where it is not allowed, or a value of the wrong
            type.
    """
    if not rows:
        raise ValueError("a table needs at least one row")
    expected = schema(columns)
    for row in rows:
        missing = [name for name in expected.names if name not in row]
        if missing and row.get("error") is None:
            raise ValueError(f"row without columns: {', '.join(missing)}")
    made = pa.table([_values(rows, field) for field in expected], schema=expected)
    _check_nulls(made, expected)
    return with_metrics(made, metrics or {})


def _values(rows: Sequence[Mapping[str, object]], field: pa.Field) -> pa.Array:
    try:
        return pa.array([row.get(field.name) for row in rows], field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"column {field.name}: {error}") from error


def with_metrics(rows: pa.Table, metrics: Mapping[str, Any]) -> pa.Table:
    """The same table, whose metadata says which metric entries its columns come from."""
    text = json.dumps(dict(metrics), sort_keys=True).encode()
    return rows.replace_schema_metadata({**(rows.schema.metadata or {}), METRICS_KEY: text})


def metrics_of(found: pa.Schema) -> dict[str, Any]:
    """The metric entries whose columns a shard holds, with their configuration."""
    return dict(json.loads((found.metadata or {}).get(METRICS_KEY, b"{}")))


def conforming(rows: pa.Table, metrics: Mapping[str, Any] | None = None) -> pa.Table:
    """The table itself, with the spine first and cast to its types.

    Args:
        rows: the table.
        metrics: the metric entries that its columns come from; as its metadata says if None.

    Raises:
        ValueError: a column of the spine is missing, not castable, or null where that is not
            allowed.
    """
    expected = schema(declared_columns(rows.schema))
    if missing := [name for name in expected.names if name not in rows.column_names]:
        raise ValueError(f"table without columns: {', '.join(missing)}")
    _check_nulls(rows, expected)
    cast = rows.select(expected.names).cast(expected)
    return with_metrics(cast, metrics_of(rows.schema) if metrics is None else metrics)


def _check_nulls(rows: pa.Table, expected: pa.Schema) -> None:
    for field in expected:
        if not field.nullable and rows[field.name].null_count:
            raise ValueError(f"column {field.name} must not be null")

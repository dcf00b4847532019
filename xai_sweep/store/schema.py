"""The columns of a row: the one place that says what each is.

A row is one image x one magnitude x one rank. The metric columns, one per yaml in `conf/metric`,
stand between what the model said and the floors.
"""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

SCHEMA_VERSION = 1
VERSION_KEY = b"xai_sweep.schema"

# These say where a row came from. All other columns are equal in any two runs of the same cell.
BOOKKEEPING = ("sweep", "image_path")
# These are equal in all rows of a cell, and stand in its manifest too.
CONSTANT = ("cell", "data", "model", "explainer", "transform", "parameter", "magnitude", "seed")


def _column(name: str, kind: pa.DataType, description: str, *, nullable: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"description": description})


_BEFORE_METRICS = (
    _column("cell", pa.string(), "Key of the cell.", nullable=False),
    _column("sweep", pa.string(), "Name of the sweep that computed the row.", nullable=False),
    _column(
        "image_id",
        pa.string(),
        "Name of the image within its data set, the same wherever the set lies.",
        nullable=False,
    ),
    _column("image_path", pa.string(), "File the image was read from.", nullable=False),
    _column("label_true", pa.string(), "Label that the data set gives; null if it has none."),
    _column(
        "data",
        pa.string(),
        "The data set: its name and the beginning of the hash of its images.",
        nullable=False,
    ),
    _column("model", pa.string(), "Name of the classifier.", nullable=False),
    _column("explainer", pa.string(), "Name of the explanation method.", nullable=False),
    _column("transform", pa.string(), "Name of the transform.", nullable=False),
    _column(
        "parameter",
        pa.string(),
        "Parameter of the transform that the magnitude is a value of.",
        nullable=False,
    ),
    _column(
        "magnitude",
        pa.float64(),
        "How far the image was changed, in the parameter's native unit.",
        nullable=False,
    ),
    _column("seed", pa.int64(), "Seed that all randomness is derived from.", nullable=False),
    _column("draw", pa.int32(), "Draw.", nullable=False),
    _column("class_explained", pa.int32(), "."),
    _column("image_distance", pa.float64(), "."),
    _column("logit_distance", pa.float64(), "."),
    _column(
        "rank",
        pa.int8(),
        "Place of the target among the best classes of the clean image, from 1.",
        nullable=False,
    ),
    _column("class_ref", pa.int32(), "Class of the clean image at this rank."),
    _column("label_ref", pa.string(), "Name of `class_ref`."),
    _column("prob_ref", pa.float64(), "Probability of `class_ref` in the clean image."),
    _column("class_new", pa.int32(), "Class of the transformed image at this rank."),
    _column("label_new", pa.string(), "Name of `class_new`."),
    _column("prob_new", pa.float64(), "Probability of `class_new` in the transformed image."),
    _column("prob_ref_new", pa.float64(), "Probability of `class_ref` in the transformed image."),
    _column(
        "flipped",
        pa.bool_(),
        "The first class of the transformed image differs from that of the clean image; "
        "the same for all ranks of an image.",
    ),
)

_AFTER_METRICS = (
    _column(
        "rmse_interpolation",
        pa.float64(),
        "RMSE of the reference against itself, transformed there and back again; "
        "null if the transform keeps the pixels in place.",
    ),
    _column(
        "rmse_sampling",
        pa.float64(),
        "RMSE of two heatmaps of the same image with different seeds; 0 for methods that "
        "do not draw.",
    ),
    _column("valid_fraction", pa.float64(), "Share of the pixels in the valid region, 0 to 1."),
    _column("finite", pa.bool_(), "Both heatmaps are free of NaN and infinity."),
    _column(
        "relevance_ratio",
        pa.float64(),
        "Sum of the transformed image's heatmap divided by the target's logit; null unless the "
        "method conserves it.",
    ),
    _column(
        "bias_share",
        pa.float64(),
        "Part of that logit which biases absorbed; null like `relevance_ratio`.",
    ),
    _column(
        "stabilizer_share",
        pa.float64(),
        "Part of that logit which was lost to stabilisers and empty denominators; the three sum "
        "to 1.",
    ),
    _column(
        "surrogate_r2",
        pa.float64(),
        "Weighted R2 of the linear model that explains the transformed image; null unless the "
        "method fits one (LIME).",
    ),
    _column(
        "num_samples",
        pa.int32(),
        "Changed images that this model was fitted to; null like `surrogate_r2`.",
    ),
    _column(
        "coefficient_stderr",
        pa.float64(),
        "Estimated standard error of its coefficients over draws of the samples, mean over the "
        "coefficients; null like `surrogate_r2`, NaN if there are too few samples to tell.",
    ),
    _column("error", pa.string(), "Why the image failed, in one line; null if it did not."),
)

FIXED = frozenset(field.name for field in _BEFORE_METRICS + _AFTER_METRICS)


def schema(metrics: Sequence[str]) -> pa.Schema:
    """The schema of a table with these metric columns.

    Every field carries its description as metadata, the schema its version.

    Raises:
        ValueError: a metric has the name of another column.
    """
    if clash := sorted(FIXED.intersection(metrics)):
        raise ValueError(f"metrics that have the name of another column: {', '.join(clash)}")
    middle = [
        _column(name, pa.float64(), f"Metric `{name}`; null if not chosen or failed.")
        for name in metrics
    ]
    version = {VERSION_KEY: str(SCHEMA_VERSION).encode()}
    return pa.schema([*_BEFORE_METRICS, *middle, *_AFTER_METRICS], metadata=version)


def metric_columns(names: Iterable[str]) -> list[str]:
    """Those of the column names that are metrics, in their order."""
    return [name for name in names if name not in FIXED]


def science(names: Iterable[str]) -> list[str]:
    """Those of the column names that must be equal in two runs of the same cell."""
    return [name for name in names if name not in BOOKKEEPING]


def table(rows: Sequence[Mapping[str, object]]) -> pa.Table:
    """Rows as a table of the schema.

    Args:
        rows: at least one; each has every column as a key, None for null. Keys that are no
            fixed column are metrics, so a failed row must name its metrics too.

    Raises:
        ValueError: rows with different keys, a fixed column without a key, null where it is not
            allowed, or a value of the wrong type.
    """
    if not rows:
        raise ValueError("a table needs at least one row")
    expected = schema(metric_columns(rows[0]))
    for row in rows:
        if wrong := sorted(row.keys() ^ set(expected.names)):
            raise ValueError(f"row with missing or unknown columns: {', '.join(wrong)}")
    return conforming(pa.Table.from_pylist([dict(row) for row in rows], schema=expected))


def conforming(rows: pa.Table) -> pa.Table:
    """The table itself, cast to the schema.

    Raises:
        ValueError: a column is missing, not castable, or null where that is not allowed.
    """
    expected = schema(metric_columns(rows.column_names))
    if missing := sorted(set(expected.names).difference(rows.column_names)):
        raise ValueError(f"table without columns: {', '.join(missing)}")
    for field in expected:
        if not field.nullable and rows[field.name].null_count:
            raise ValueError(f"column {field.name} must not be null")
    return rows.select(expected.names).cast(expected)

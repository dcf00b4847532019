"""What is written down beside the rows of a cell."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xai_sweep import __version__
from xai_sweep.core.columns import Column
from xai_sweep.store.schema import CONSTANT, SCHEMA_VERSION, declared_columns, metrics_of
from xai_sweep.store.shards import described

LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "timm", "captum", "numpy", "pillow")

# Columns by what gives them: a metric entry, or None for the explainer.
Given = Mapping[str | None, Sequence[Column]]


def manifest(
    constants: Mapping[str, Any],
    *,
    curve: str,
    request: str,
    identity: Mapping[str, Any],
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    columns: Given,
    unit: str,
    counts: Mapping[str, int],
    seconds: float,
    device: str,
    findings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What lies beside the rows of a finished cell.

    Args:
        constants: the columns of the spine that are equal in all rows of the cell, see
            `xai_sweep.store.schema.CONSTANT`.
        curve: name of the cell's curve.
        request: hash by which a command line finds the cell, whatever the weights and the images.
        identity: everything that decides the cell's numbers: what its key is a digest of.
        config: the whole configuration, resolved.
        metrics: the resolved configuration of each metric entry.
        columns: which columns each entry gives, and under None those of the explainer.
        unit: of the magnitude, as written on an axis.
        counts: images, and how many of them failed.
        seconds: wall time of the job that finished it, for all of its cells together.
        device: the name of the processor.
        findings: what the explainer found in this network.
    """
    return {
        **{name: constants[name] for name in CONSTANT},
        "curve": curve,
        "request": request,
        "identity": dict(identity),
        "config": dict(config),
        "weights_hash": identity["weights"],
        "data_hash": identity["data"],
        "unit": unit,
        "metrics": {name: dict(node) for name, node in metrics.items()},
        "columns": described_columns(columns),
        "device": device,
        "host": platform.node(),
        "versions": {
            "xai_sweep": __version__,
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
        "counts": dict(counts),
        "seconds": round(seconds, 3),
        "findings": dict(findings or {}),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def completed(content: Mapping[str, object], shards: Sequence[Path]) -> dict[str, object]:
    """A manifest with what the shards of the cell add to it.

    `schema`, `rows`, `missing` (how many images have no number of a metric, of those that any
    lack) and `shards` (name, rows, bytes, sha256 of each) are added, and `metrics` and `columns` as
    the shards have them, unless the manifest has its own.

    Raises:
        RuntimeError: the shards do not all have the same columns.
    """
    found = [pq.read_metadata(shard) for shard in shards]
    rows = [metadata.num_rows for metadata in found]
    schemas = [metadata.schema.to_arrow_schema() for metadata in found]
    if any(each.names != schemas[0].names for each in schemas):
        raise RuntimeError(f"{shards[0].parent}: shards with different columns")
    columns = declared_columns(schemas[0]) if schemas else []
    given: Any = content.get("columns", {})
    there = schemas[0].names if schemas else []
    measured = [name for name in metric_names([{"columns": given}]) if name in there]
    return {
        **{"metrics": metrics_of(schemas[0]) if schemas else {}},
        **{"columns": described_columns({None: columns})},
        **content,
        "schema": SCHEMA_VERSION,
        "rows": sum(rows),
        "missing": missing(shards, measured),
        "shards": [described(shard, n) for shard, n in zip(shards, rows, strict=True)],
    }


def missing(shards: Sequence[Path], names: Sequence[str]) -> dict[str, int]:
    """How many images without an error have no number in a column, of those that any lack."""
    if not shards or not names:
        return {}
    tables = [pq.ParquetFile(shard).read([*names, "image_id", "error"]) for shard in shards]
    rows = pa.concat_tables(tables)
    bad = rows.filter(pc.is_valid(rows["error"]))["image_id"]
    rows = rows.filter(pc.invert(pc.is_in(rows["image_id"], bad)))
    none = pa.scalar(None, pa.float64())
    for name in (each for each in names if rows.schema.field(each).type == pa.float64()):
        at = rows.column_names.index(name)
        rows = rows.set_column(*(at, name, pc.if_else(pc.is_nan(rows[name]), none, rows[name])))
    found = rows.group_by("image_id").aggregate([(name, "count") for name in names])
    counts = {name: pc.sum(pc.equal(found[f"{name}_count"], 0)).as_py() or 0 for name in names}
    return {name: count for name, count in counts.items() if count}


def flat(columns: Given) -> tuple[Column, ...]:
    """All columns in their order: those of the metrics, then those of the explainer."""
    ordered = sorted(columns.items(), key=lambda each: each[0] is None)
    return tuple(column for _, given in ordered for column in given)


def described_columns(columns: Given) -> dict[str, dict[str, Any]]:
    """Each column as a manifest describes it."""
    entry_of = {column.name: entry for entry, given in columns.items() for column in given}
    return {
        column.name: {
            **{key: value for key, value in asdict(column).items() if key != "name"},
            "metric": entry_of[column.name],
        }
        for column in flat(columns)
    }


def read_columns(content: Mapping[str, Any]) -> list[Column]:
    """The columns that a manifest lists."""
    return [
        Column(name, **{key: value for key, value in facts.items() if key != "metric"})
        for name, facts in content["columns"].items()
    ]


def metric_names(contents: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of metrics that any of several manifests lists, in their order."""
    return list(
        dict.fromkeys(
            name
            for content in contents
            for name, facts in content["columns"].items()
            if facts["metric"] is not None
        )
    )

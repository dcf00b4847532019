"""What is written down about a cell: the columns that are the same in all rows, the manifest."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from xai_sweep import __version__
from xai_sweep.config.cells import Cell
from xai_sweep.core.paths import CONF
from xai_sweep.store.schema import schema

LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "timm", "captum", "numpy", "pillow")


def constant_columns(cell: Cell, sweep: str) -> dict[str, Any]:
    """Every column of the schema, with its value if it is the same for all rows of the cell."""
    # Every metric of the catalogue is a column, so that all cells read as one table.
    metrics = sorted(file.stem for file in (CONF / "metric").glob("*.yaml"))
    return {
        **dict.fromkeys(schema(metrics).names),
        **_names(cell),
        "sweep": sweep,
    }


def manifest(
    cell: Cell,
    config: Mapping[str, Any],
    device: str,
    counts: Mapping[str, int],
    seconds: float,
    notes: Mapping[str, Any],
) -> dict[str, Any]:
    """What lies beside the rows of a finished cell.

    Args:
        cell: the cell.
        config: the whole configuration, resolved.
        device: ``cpu`` or ``cuda``.
        counts: images, and how many of them failed.
        seconds: wall time of the job that finished it, for all of its cells together.
        notes: what the explainer says of this network.
    """
    return {
        **_names(cell),
        "request": cell.request,
        "curve": cell.curve.name,
        "identity": cell.identity,
        "config": dict(config),
        "weights_hash": cell.identity["weights"],
        "data_hash": cell.identity["data"],
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "host": platform.node(),
        "versions": {
            "xai_sweep": __version__,
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
        "counts": dict(counts),
        "seconds": round(seconds, 3),
        "notes": dict(notes),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _names(cell: Cell) -> dict[str, Any]:
    return {
        "cell": cell.key,
        "data": cell.curve.data,
        "model": cell.curve.model,
        "explainer": cell.curve.explainer,
        "transform": cell.curve.transform,
        "parameter": cell.curve.parameter,
        "magnitude": cell.magnitude,
        "seed": cell.identity["seed"],
    }

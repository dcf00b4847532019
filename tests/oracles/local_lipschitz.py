"""Equation 2 of Alvarez-Melis and Jaakkola 2018, row by row."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

Key = tuple[Any, ...]


def local_lipschitz(rows: Iterable[Mapping[str, Any]]) -> dict[Key, float]:
    """The largest ratio by question, magnitude, image and rank; NaN where it is undefined."""
    ratios: dict[Key, list[float]] = {}
    for row in rows:
        key = (row["question"], row["magnitude"], row["image_id"], row["rank"])
        ratios.setdefault(key, []).append(_ratio(row))
    return {
        key: math.nan if any(math.isnan(each) for each in found) else max(found)
        for key, found in ratios.items()
    }


def _ratio(row: Mapping[str, Any]) -> float:
    if row["error"] is not None:
        return math.nan
    if row["image_distance"] == 0:
        return 0.0 if row["euclidean"] == 0 else math.nan
    return float(row["euclidean"] / row["image_distance"])

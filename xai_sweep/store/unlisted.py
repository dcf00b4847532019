"""Shards that the manifest beside them does not list."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xai_sweep.store.cell_folder import CellFolder
from xai_sweep.store.schema import metrics_of
from xai_sweep.store.shards import listed_shards, shard_schema


def unlisted_shards(
    cell: CellFolder, manifest: Mapping[str, Any] | None
) -> tuple[list[Path], list[Path]]:
    """The shards that a manifest does not list; none if there is no manifest.

    Returns:
        Those that nothing needs, and those of an extension that was begun: they hold a metric
        entry that the manifest lacks.
    """
    if manifest is None:
        return [], []
    listed = listed_shards(cell.path, manifest)
    beside = [shard for shard in cell.shards() if shard not in listed]
    begun = [shard for shard in beside if _entries(shard) - manifest["metrics"].keys()]
    return [shard for shard in beside if shard not in begun], begun


def _entries(shard: Path) -> set[str]:
    try:
        return set(metrics_of(shard_schema(shard)))
    except (OSError, ValueError):
        return set()

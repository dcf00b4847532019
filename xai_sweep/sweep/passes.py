"""A pass over the images: cells that are computed together, and what takes their rows."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xai_sweep.config.building import built_metrics
from xai_sweep.config.cells import Cell
from xai_sweep.core.columns import Column
from xai_sweep.metrics import Metric
from xai_sweep.store.cell_folder import CellFolder
from xai_sweep.store.manifest import flat
from xai_sweep.store.schema import SPINE
from xai_sweep.store.writer import CellWriter
from xai_sweep.study.predicting import CellIndex
from xai_sweep.sweep.requests import RequestedCurve

if TYPE_CHECKING:
    from xai_sweep.sweep.compute import Shared

# Heatmaps are large, so fewer images share a file if all are kept.
_SHARD_WITH_HEATMAPS = 32


class Pass:
    """One pass over the images: cells of some curves, measured by the same metrics.

    Args:
        shared: what the curves have in common.
        sweep: the name of the multirun, or of the single run.
        curves: the curves.
    """

    def __init__(self, shared: "Shared", sweep: str, curves: Sequence[RequestedCurve]) -> None:
        self.shared = shared
        self.sweep = sweep
        self.curves = curves
        self.entries = curves[0].metrics
        self.metrics: dict[str, Metric] = built_metrics(self.entries)
        self.columns: dict[str | None, Sequence[Column]] = {
            **{name: metric.columns for name, metric in self.metrics.items()},
            None: shared.explainer.facts,
        }
        self.names = {column.name for column in flat(self.columns)}
        self.cells: dict[CellIndex, tuple[RequestedCurve, Cell]] = {
            (index, cell.magnitude): (curve, cell)
            for index, curve in enumerate(curves)
            for cell in curve.cells
        }

    def writers(
        self, folders: Mapping[CellIndex, CellFolder], done: Mapping[CellIndex, frozenset[str]]
    ) -> dict[CellIndex, CellWriter]:
        """What takes the rows of each cell."""
        cfg = self.shared.group.cfg
        shard_images = cfg.shard_images
        if cfg.keep_heatmaps == "all":
            shard_images = min(shard_images, _SHARD_WITH_HEATMAPS)
        return {
            index: CellWriter(
                folders[index],
                done[index],
                self._constants(curve, cell),
                flat(self.columns),
                metrics=self.entries,
                shard_images=shard_images,
                keep_worst=cfg.keep_worst if cfg.keep_heatmaps == "worst" else None,
            )
            for index, (curve, cell) in self.cells.items()
        }

    def _constants(self, curve: RequestedCurve, cell: Cell) -> dict[str, Any]:
        """Every column, with its value if that is equal in all rows of the cell."""
        question = curve.question
        return {
            **dict.fromkeys(column.name for column in (*SPINE, *flat(self.columns))),
            "cell": cell.key,
            "question": curve.curve.question,
            "sweep": self.sweep,
            "data": curve.curve.data,
            "model": curve.curve.model,
            "explainer": curve.curve.explainer,
            "is_control": self.shared.explainer.is_control,
            "transform": curve.curve.transform,
            "parameter": curve.curve.parameter,
            "magnitude": cell.magnitude,
            "seed": question.seed,
            "target": question.target,
            "region": question.region,
            "region_of": ",".join(f"{each:g}" for each in question.region_of) or "own",
            "draws": question.draws,
        }

"""Every picture, drawn from rows and stored heatmaps; nothing here knows torch."""

from xai_sweep.report.figures._curves import curves
from xai_sweep.report.figures._figure import save
from xai_sweep.report.figures._side_by_side import representatives, side_by_side
from xai_sweep.report.figures._strip import strip

__all__ = ["curves", "representatives", "save", "side_by_side", "strip"]

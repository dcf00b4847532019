"""Every picture, plotted from rows and stored heatmaps; torch is not needed."""

from xai_sweep.report.figures.curves import plot_curves
from xai_sweep.report.figures.files import save
from xai_sweep.report.figures.side_by_side import plot_representatives, plot_side_by_side
from xai_sweep.report.figures.strip import plot_strip

__all__ = ["plot_curves", "plot_representatives", "plot_side_by_side", "plot_strip", "save"]

"""Fixtures of stored rows, shared by the rooms that read them."""

from stored import complete, make_heatmaps, make_rows, make_table

__all__ = ["complete", "make_heatmaps", "make_rows", "make_table"]

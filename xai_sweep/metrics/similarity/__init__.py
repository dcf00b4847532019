"""How alike two heatmaps are, one measure per file."""

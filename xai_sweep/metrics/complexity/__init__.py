"""How simple a single heatmap is."""

"""The reference heatmap beside itself: what a comparison shows although nothing was changed."""

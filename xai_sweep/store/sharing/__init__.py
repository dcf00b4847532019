"""Several jobs, one results folder: who computes which cell."""

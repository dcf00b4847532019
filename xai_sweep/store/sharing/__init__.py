"""Several jobs on one results folder: which job computes which cell."""

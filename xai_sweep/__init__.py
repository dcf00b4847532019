"""xai_sweep measures how robust explanations of image classifiers are.

Importing this package imports neither torch nor Lightning, so that `--help`, input errors and the
analysis of stored results answer at once.
"""

__version__ = "0.1.0"

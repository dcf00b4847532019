"""The results folder: what is written, by whom, and how it stays whole."""

"""Numbers computed from rows, without torch."""

"""Looking after a results folder: status, verify, compact, prune."""

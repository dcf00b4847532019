"""What every room stands on: errors, seeds, hashes, paths."""

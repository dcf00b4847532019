"""Explanation methods of other packages, as they are."""

"""Transforms that change pixels in their place."""

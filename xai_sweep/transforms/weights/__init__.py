"""Transforms that change the network."""

"""Null explainers: what any method has to beat."""

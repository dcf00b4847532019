"""Transforms that change the class that is explained."""

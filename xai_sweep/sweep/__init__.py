"""From the points of a grid to finished cells."""

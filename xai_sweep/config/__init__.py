"""What a configuration may say, and the points of the grid, cells and names that follow from it."""

"""A network as a captured graph, and faster versions of that graph."""

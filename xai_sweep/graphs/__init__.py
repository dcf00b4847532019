"""The network as a captured graph, and faster forms of it."""

"""Whether the network agrees that the pixels of large relevance matter."""

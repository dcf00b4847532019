"""Whether relevance lies on the object."""

"""Methods that predict changed images."""

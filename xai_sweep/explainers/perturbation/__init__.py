"""Methods that ask the network about changed images."""

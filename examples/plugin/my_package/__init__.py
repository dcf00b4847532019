"""Methods of your own for xai_sweep: a class in a module, and a yaml in `conf` that names it."""

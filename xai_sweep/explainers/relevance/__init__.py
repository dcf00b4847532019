"""Methods that propagate the logit back layer by layer."""

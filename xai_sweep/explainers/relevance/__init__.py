"""Methods that hand the logit down layer by layer."""

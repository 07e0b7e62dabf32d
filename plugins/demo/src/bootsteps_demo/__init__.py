"""A composed worker at real work: `kernel demo`."""

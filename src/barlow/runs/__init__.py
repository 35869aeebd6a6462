"""Where a Recipe becomes a run."""

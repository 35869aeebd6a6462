"""From one batch to two or more views of it."""

"""From one graph to two or more views of it."""

"""From one batch of clips to two or more views of it."""

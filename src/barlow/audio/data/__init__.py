"""From names and folders to batches of clips."""

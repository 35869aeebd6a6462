"""From names, paths and objects to batches of images."""

"""What is different about graphs, and nothing else."""

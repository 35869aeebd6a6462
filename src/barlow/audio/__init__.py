"""What is different about sound, and nothing else."""
